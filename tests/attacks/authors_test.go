package attacks

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// byChartAlone is what Helm makes of a session's values, changed at will: nobody judges it.
func byChartAlone(t *testing.T, in renderer.Input, change func(values map[string]any)) []*unstructured.Unstructured {
	t.Helper()
	values, err := newRenderer(t).Values(in)
	require.NoError(t, err)
	copied := map[string]any{}
	data, err := json.Marshal(values)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &copied))
	change(copied)
	files, err := renderer.ChartFiles()
	require.NoError(t, err)
	c, err := loader.LoadFiles(files)
	require.NoError(t, err)
	all, err := chartutil.ToRenderValues(c, copied, chartutil.ReleaseOptions{Name: in.Session.Name, Namespace: in.Session.Namespace}, nil)
	require.NoError(t, err)
	texts, err := engine.Render(c, all)
	require.NoError(t, err)
	var out []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		o := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(texts[name]), &o.Object))
		if o.GetKind() != "" {
			out = append(out, o)
		}
	}
	return out
}

// holds says whether a text stands in the object of a kind.
func holds(t *testing.T, objects []*unstructured.Unstructured, kind, text string) bool {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == kind {
			data, err := json.Marshal(o.Object)
			require.NoError(t, err)
			if strings.Contains(string(data), text) {
				return true
			}
		}
	}
	return false
}

// author writes a template.
type author struct {
	env    string // spec.env
	values string // spec.values
	edit   func(*vdi.VDITemplateSpec)
	kind   string // in which the harm is; Pod
	harm   string // what stands there then
}

// authors are wishes of people who may write templates, and no more (S7).
func authors() map[string]author {
	user := int64(65532)
	return map[string]author{
		"another's password":                {env: `[{"name":"A","valueFrom":{"secretKeyRef":{"name":"bob-credentials","key":"password"}}}]`, harm: `"bob-credentials"`},
		"the key of one's visitor's cookie": {env: `[{"name":"A","valueFrom":{"secretKeyRef":{"name":"desk-credentials","key":"cookie-key"}}}]`, harm: `"cookie-key"`},
		"one's visitor's password":          {env: `[{"name":"A","valueFrom":{"secretKeyRef":{"name":"desk-credentials","key":"password"}}}]`, harm: `"key":"password"`},
		"settings of others":                {env: `[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"theirs","key":"a"}}}]`, harm: `"theirs"`},
		"the certificate's key as a file":   {values: `{"pod":{"volumes":[{"name":"a","secret":{"secretName":"wildcard-tls"}}]}}`, harm: `"wildcard-tls"`},
		"another's password, projected":     {values: `{"pod":{"volumes":[{"name":"a","projected":{"sources":[{"secret":{"name":"bob-credentials"}}]}}]}}`, harm: `"bob-credentials"`},
		"settings of others as files":       {values: `{"pod":{"volumes":[{"name":"a","configMap":{"name":"theirs"}}]}}`, harm: `"theirs"`},
		"a whole Secret beside the desktop": {values: `{"pod":{"sidecars":[{"name":"a","image":"a","envFrom":[{"secretRef":{"name":"bob-credentials"}}]}]}}`, harm: `"bob-credentials"`},
		"a whole Secret before the desktop": {values: `{"pod":{"initContainers":[{"name":"a","image":"a","envFrom":[{"secretRef":{"name":"bob-turn"}}]}]}}`, harm: `"bob-turn"`},
		"one's own login beside the desktop": {
			values: `{"pod":{"sidecars":[{"name":"a","image":"a","volumeMounts":[{"name":"credentials","mountPath":"/stolen"}]}]}}`, harm: `"/stolen"`,
		},
		"another's home":              {values: `{"pod":{"volumes":[{"name":"a","persistentVolumeClaim":{"claimName":"vdi-data-bob"}}]}}`, harm: `"vdi-data-bob"`},
		"a copy of another's home":    {values: `{"pod":{"volumes":[{"name":"a","ephemeral":{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"dataSource":{"kind":"PersistentVolumeClaim","name":"vdi-data-bob"}}}}}]}}`, harm: `"vdi-data-bob"`},
		"a network past the policy":   {values: `{"pod":{"annotations":{"k8s.v1.cni.cncf.io/networks":"lan"}}}`, harm: `k8s.v1.cni.cncf.io/networks`},
		"a device by annotation":      {values: `{"pod":{"annotations":{"cdi.k8s.io/gpu":"nvidia.com/gpu=all"}}}`, harm: `cdi.k8s.io/gpu`},
		"another's name in DNS":       {values: `{"service":{"annotations":{"external-dns.alpha.kubernetes.io/hostname":"bob.example.com"}}}`, kind: "Service", harm: "external-dns"},
		"passwords without TLS":       {values: `{"ingressRoute":{"entryPoints":["web"]}}`, kind: "IngressRoute", harm: `"web"`},
		"all GPUs by a mount":         {values: `{"pod":{"volumes":[{"name":"a","emptyDir":{}}],"volumeMounts":[{"name":"a","mountPath":"/var/run/nvidia-container-devices/all"}]}}`, harm: "nvidia-container-devices/all"},
		"all GPUs by a variable":      {values: `{"pod":{"sidecars":[{"name":"a","image":"a","env":[{"name":"NVIDIA_VISIBLE_DEVICES","value":"all"}]}]}}`, harm: `"value":"all"`},
		"the partition of GPUs":       {env: `[{"name":"NVIDIA_MIG_CONFIG_DEVICES","value":"all"}]`, harm: "NVIDIA_MIG_CONFIG_DEVICES"},
		"the agent's user":            {edit: func(t *vdi.VDITemplateSpec) { t.Security.RunAsUser = &user }, harm: `"runAsUser":65532,"seccompProfile"`},
		"the agent's user, elsewhere": {values: `{"pod":{"sidecars":[{"name":"twin","image":"a","securityContext":{"runAsUser":65532}}]}}`, harm: `"twin","securityContext":{"runAsUser":65532}`},
	}
}

// TestA40Authors: who may write templates gets desktops, and nothing else of the
// namespaces in which they run.
func TestA40Authors(t *testing.T) {
	for name, a := range authors() {
		if a.kind == "" {
			a.kind = "Pod"
		}
		in := aSession()
		if a.env != "" {
			require.NoError(t, json.Unmarshal([]byte(a.env), &in.Template.Spec.Env))
		}
		if a.values != "" {
			in.Template.Spec.Values = jsonOf(a.values)
		}
		if a.edit != nil {
			a.edit(&in.Template.Spec)
		}
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			return ledger.Judge(holds(t, byChartAlone(t, in, func(map[string]any) {}), a.kind, a.harm), ledger.Operator, "it is not there")
		}, func(t *testing.T) ledger.Outcome {
			got, err := newRenderer(t).Render(in)
			if err != nil {
				require.ErrorIs(t, err, renderer.ErrGuard)
				return ledger.Blocked(ledger.Operator, err.Error())
			}
			return ledger.Judge(holds(t, got.Objects, a.kind, a.harm), ledger.Operator, "left out")
		})
	}
}

// TestA40ClaimsOfOthers: a volume is nobody's desktop's before an administrator says so,
// and its label is not the tenants' to write.
func TestA40ClaimsOfOthers(t *testing.T) {
	t.Parallel()
	attack(t, "a volume of somebody else", func(t *testing.T, w *world) ledger.Outcome {
		ns := w.namespace(t)
		carols := &corev1.PersistentVolumeClaim{}
		carols.Namespace, carols.Name = ns, "carols-nfs-home"
		carols.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		carols.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: quantity("1Gi")}
		require.NoError(t, w.Driver.Create(t.Context(), carols))
		tpl := w.templated(t, "thief-"+ns, func(t *vdi.VDITemplate) {
			t.Spec.Values = jsonOf(`{"pod":{"volumes":[{"name":"a","persistentVolumeClaim":{"claimName":"carols-nfs-home"}}]}}`)
		})
		return w.asks(t, w.tenant(t, ns, malloryIn(ns)), desk(ns, "thief", malloryIn(ns), func(s *vdi.VDISession) { s.Spec.Template = tpl }))
	})
}

// floors are settings and overlays that open more than they say (S9).
func floors() map[string]struct {
	network string // sessions.network
	overlay string // a further rule of the policy
	to      string
} {
	return map[string]struct{ network, overlay, to string }{
		"metadata, by a denied range of one's own":         {network: `{deniedRanges: [203.0.113.0/24]}`, to: "169.254.169.254"},
		"metadata of Azure, by the same":                   {network: `{deniedRanges: [203.0.113.0/24]}`, to: "168.63.129.16"},
		"private addresses, by the same":                   {network: `{deniedRanges: [203.0.113.0/24]}`, to: "10.0.0.5"},
		"all of IPv6, by the same":                         {network: `{deniedRanges: [203.0.113.0/24]}`, to: "fd00:1::1"},
		"private addresses, by an empty list":              {network: `{deniedRanges: []}`, to: "192.168.1.1"},
		"metadata, by a wide allowed range":                {network: `{allowedRanges: [169.254.0.0/16]}`, to: "169.254.169.254"},
		"metadata in IPv6, by a wide allowed range":        {network: `{allowedRanges: ["fd00::/8"]}`, to: "fd00:ec2::254"},
		"metadata of Alibaba, by an opened range":          {network: `{openRanges: [100.64.0.0/10]}`, to: "100.100.100.200"},
		"metadata, without internet":                       {network: `{internet: false, allowedRanges: [0.0.0.0/0]}`, to: "169.254.169.254"},
		"metadata, behind an opened translator":            {network: `{openRanges: ["64:ff9b::/96"]}`, to: "64:ff9b::a9fe:a9fe"},
		"private addresses, behind an opened translator":   {network: `{openRanges: ["64:ff9b::/96"]}`, to: "64:ff9b::a00:5"},
		"metadata, by a rule of an overlay":                {overlay: `{to: [{ipBlock: {cidr: 169.254.0.0/16}}]}`, to: "169.254.169.254"},
		"everything, by a rule of an overlay without a to": {overlay: `{ports: [{port: 80, protocol: TCP}]}`, to: "169.254.169.254"},
	}
}

// TestA41NetworkFloor: settings add to what desktops cannot reach.
func TestA41NetworkFloor(t *testing.T) {
	for name, f := range floors() {
		in := aSession()
		require.NoError(t, yaml.UnmarshalStrict([]byte(f.network), &in.Platform.Sessions.Network))
		reaches := func(t *testing.T, got renderer.Rendered) bool {
			pod := podIn(t, got)
			from := place{namespace: pod.Namespace, labels: pod.Labels, address: "10.244.1.7"}
			return passes(policiesIn(t, got), connection{from, place{address: f.to}, 80, corev1.ProtocolTCP})
		}
		ledger.Try(t, name, func(t *testing.T) ledger.Outcome {
			return ledger.Judge(reaches(t, renderer.Rendered{Objects: asBefore(t, in, f.overlay)}), ledger.Runtime, "no rule admits it")
		}, func(t *testing.T) ledger.Outcome {
			got, err := newRenderer(t).Render(in)
			if f.overlay != "" {
				rule, jsonErr := yaml.YAMLToJSON([]byte(f.overlay))
				require.NoError(t, jsonErr)
				got, err = overlaid(t, in, "NetworkPolicy", `{"spec":{"egress":[`+string(rule)+`]}}`)
			}
			if err != nil {
				require.ErrorIs(t, err, renderer.ErrGuard)
				return ledger.Blocked(ledger.Operator, err.Error())
			}
			return ledger.Judge(reaches(t, got), ledger.Runtime, "no rule admits it")
		})
	}
}

// asBefore is the chart alone, to which a list of denied ranges is the whole list, with
// the overlay's rule.
func asBefore(t *testing.T, in renderer.Input, overlay string) []*unstructured.Unstructured {
	t.Helper()
	n := in.Platform.Sessions.Network
	objects := byChartAlone(t, in, func(values map[string]any) {
		policy := values["networkPolicy"].(map[string]any)
		if n.DeniedRanges != nil {
			replacing := []any{}
			for _, r := range n.DeniedRanges {
				replacing = append(replacing, r)
			}
			policy["deniedRanges"] = replacing
		}
		if len(n.OpenRanges) > 0 {
			policy["deniedRanges"] = slices.DeleteFunc(slices.Clone(policy["deniedRanges"].([]any)), func(r any) bool {
				return slices.Contains(n.OpenRanges, r.(string)) || strings.HasPrefix(r.(string), "64:ff9b::")
			})
		}
	})
	if overlay != "" {
		rule := map[string]any{}
		require.NoError(t, yaml.Unmarshal([]byte(overlay), &rule))
		for _, o := range objects {
			if o.GetKind() == "NetworkPolicy" {
				egress, _, err := unstructured.NestedSlice(o.Object, "spec", "egress")
				require.NoError(t, err)
				require.NoError(t, unstructured.SetNestedSlice(o.Object, append(egress, rule), "spec", "egress"))
			}
		}
	}
	return objects
}
