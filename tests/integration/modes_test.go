package integration

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/audit"
)

// feature is a way to run the operator that needs rights of its own.
type feature string

const (
	hosts        feature = "hosts without {id}"
	singleSignOn feature = "single sign-on"
	listOfPeople feature = "a list of people"
	sharing      feature = "GPU sharing"
	managing     feature = "GPU sharing that manages the ClusterPolicy"
	readsNodes   feature = "reading nodes"
)

// values switch a feature on; what TestEveryRightIsUsed lives through has hosts, sharing
// and managing.
func (f feature) values() []string {
	return map[feature][]string{
		hosts: {`sessions.hostTemplate=\{user\}`},
		singleSignOn: {
			"access.mode=OIDC", "access.oidc.issuerURL=https://login.example.com", "access.oidc.clientID=vdi", "access.oidc.clientSecret.name=oidc",
		},
		listOfPeople: {"access.mode=Local"},
		sharing:      {"gpuSharing.enabled=true", "gpuSharing.namespace=" + gpuNamespace},
		managing:     {"gpuSharing.managePolicy=true", "gpuSharing.configs.any.replicas=2"},
		readsNodes:   {"encoder.readNodes=true"},
	}[f]
}

// rights are what a feature brings.
func (f feature) rights() []string {
	release, gpus := " in "+operatorNamespace, " in "+gpuNamespace
	claims := []string{"create configmaps" + release, "get configmaps" + release, "update configmaps" + release}
	nodes := []string{"list nodes", "watch nodes"}
	switch f {
	case hosts:
		return claims
	case singleSignOn, listOfPeople: // sessions are the same in both
		var all []string
		for _, verb := range []string{"get", "list", "watch", "create", "patch"} {
			all = append(all, verb+" configmaps", verb+" middlewares.traefik.io")
		}
		return all
	case sharing:
		const status, plugin, config = " configmaps vdi-gpu-sharing-status", " daemonsets.apps nvidia-device-plugin-daemonset", " configmaps time-slicing-config"
		return append(
			nodes, "create configmaps"+release, "get"+status+release, "update"+status+release, "create events.events.k8s.io"+release, "patch events.events.k8s.io"+release,
			"list customresourcedefinitions.apiextensions.k8s.io clusterpolicies.nvidia.com", "watch customresourcedefinitions.apiextensions.k8s.io clusterpolicies.nvidia.com",
			"list clusterpolicies.nvidia.com", "watch clusterpolicies.nvidia.com", "list"+config+gpus, "watch"+config+gpus,
			"list"+plugin+gpus, "watch"+plugin+gpus, "patch"+plugin+gpus,
		)
	case managing:
		return []string{"patch clusterpolicies.nvidia.com cluster-policy", "create configmaps time-slicing-config" + gpus, "patch configmaps time-slicing-config" + gpus}
	default:
		return nodes
	}
}

// always is what every operator has, as far as a life needs it that has no feature. All of
// it is used by what TestEveryRightIsUsed lives through.
func always() []string {
	var all []string
	for what, verbs := range map[string]string{
		"vdisessions.vdi.kasm.io":           "get list watch patch delete route",
		"vdisessions/status.vdi.kasm.io":    "patch",
		"pods":                              "get list watch create delete",
		"persistentvolumeclaims":            "get list watch create patch delete",
		"services":                          "get list watch create patch",
		"networkpolicies.networking.k8s.io": "get list watch create patch",
		"poddisruptionbudgets.policy":       "get list watch create patch delete",
		"ingressroutes.traefik.io":          "get list watch create patch delete",
		"secrets":                           "create update",
		"events.events.k8s.io":              "list create patch",
		"vditemplates.vdi.kasm.io":          "list watch",
		"vditemplates/status.vdi.kasm.io":   "patch",
		"vdiquotas.vdi.kasm.io":             "list watch",
		"vdiquotas/status.vdi.kasm.io":      "patch",
		"vdiusages.vdi.kasm.io":             "get list watch create update delete",
		"customresourcedefinitions.apiextensions.k8s.io ingressroutes.traefik.io": "list watch",
		"leases.coordination.k8s.io in " + operatorNamespace:                      "create",
		"leases.coordination.k8s.io vdi-operator in " + operatorNamespace:         "get update",
		"events in " + operatorNamespace:                                          "create",
	} {
		for verb := range strings.FieldsSeq(verbs) {
			all = append(all, verb+" "+what)
		}
	}
	return all
}

// TestEveryModeHasItsRights: in every mode the chart grants what all need and what the mode
// needs, and no more. TestEveryRightIsUsed and TestSignedOnInSomeNamespaces see all of it in use.
func TestEveryModeHasItsRights(t *testing.T) {
	t.Parallel()
	modes := map[string][]feature{
		"Password":                         {},
		"OIDC":                             {singleSignOn},
		"Local":                            {listOfPeople},
		"hosts are users":                  {hosts},
		"nodes are read":                   {readsNodes},
		"GPUs are shared":                  {sharing},
		"ClusterPolicy is managed":         {sharing, managing},
		"everything":                       {hosts, singleSignOn, sharing, managing, readsNodes},
		"hosts are users, GPUs are shared": {hosts, sharing},
	}
	for name, features := range modes {
		for _, namespace := range []string{"", "team-a"} {
			t.Run(name+" "+namespace, func(t *testing.T) {
				t.Parallel()
				want, values := map[string]bool{}, []string{"encoder.readNodes=false"}
				for _, right := range always() {
					want[right] = true
				}
				for _, f := range features {
					values = append(values, f.values()...)
					for _, right := range f.rights() {
						want[right] = true
					}
				}
				if slices.Contains(features, hosts) { // any name
					delete(want, "get configmaps vdi-gpu-sharing-status in "+operatorNamespace)
					delete(want, "update configmaps vdi-gpu-sharing-status in "+operatorNamespace)
				}
				if namespace != "" {
					values = append(values, "watchNamespaces={"+namespace+"}")
				}
				granted, err := audit.Granted(chartObjects(t, values...), operatorNamespace, operatorName)
				require.NoError(t, err)
				got := map[string]bool{}
				for _, right := range granted {
					got[strings.TrimSuffix(right.String(), " in "+namespace)] = true
				}
				assert.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
			})
		}
	}
}

// TestSignedOnInSomeNamespaces lives through what TestEveryRightIsUsed does not: single
// sign-on, and an operator that has rights in one namespace only.
func TestSignedOnInSomeNamespaces(t *testing.T) {
	t.Parallel()
	p := startGuarded(t)
	w := newWorldOn(t, p)
	objects := chartObjects(t, append(singleSignOn.values(), "watchNamespaces={"+w.ns+"}")...)
	p.grant(t, objects)
	keys := t.TempDir()
	der, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(keys, "1.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	stop := p.runOperator(t, build(t, "vdi-operator"), append(argsOf(t, objects), "--statement-keys-dir="+keys))
	p.lives(w, func(w *world) {
		good, bad := w.middleware(), w.middleware()
		set("http://elsewhere", "spec", "forwardAuth", "address")(bad.Object)
		require.NoError(t, w.overwrite(bad))
		w.eventually(func() bool { return asJSON(t, w.middleware().Object["spec"]) == asJSON(t, good.Object["spec"]) }, "the Middleware is put back")
		planted := w.statementKeys()
		planted.Data = map[string]string{"2.pem": "planted"}
		require.NoError(t, w.overwrite(planted))
		w.eventually(func() bool { return w.statementKeys().Data["1.pem"] != "" && w.statementKeys().Data["2.pem"] == "" }, "the keys are put back")
	})
	stop()
	unused, forbidden := p.rights(t, objects, operatorName)
	assert.Empty(t, forbidden)
	for _, right := range unused {
		assert.NotContains(t, singleSignOn.rights(), strings.TrimSuffix(right.String(), " in "+w.ns), "never used")
	}
}
