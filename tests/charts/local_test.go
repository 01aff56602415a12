package charts

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
)

// localMode sets mode Local on an operator's chart, and more.
func localMode(set map[string]string) map[string]string {
	all := map[string]string{"access.mode": "Local"}
	maps.Copy(all, set)
	return all
}

// local is the operator's chart with people in a Secret.
func local(set map[string]string) scenario {
	all := localMode(set)
	all["frontDoor.routes"] = "Always"
	return operator(all)
}

// otherPeople are values of mode Local other than the defaults.
func otherPeople() map[string]string {
	return map[string]string{"access.local.secret.name": "studio-people", "access.local.secret.key": "list.yaml", "portal.label": "people"}
}

// settingsText is the settings file as it is rendered, not as the operator reads it.
func settingsText(t *testing.T, s scenario) map[string]any {
	t.Helper()
	var settings map[string]any
	text := find[corev1.ConfigMap](t, objects(t, s), "ConfigMap", operatorName+"-config").Data["config.yaml"]
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &settings))
	return settings
}

// TestLocalConfig: the settings of operator and front door, which no other mode changes.
func TestLocalConfig(t *testing.T) {
	t.Parallel()
	settings := settingsText(t, local(nil))
	require.Equal(t, map[string]any{"mode": "Local", "forwardAuth": "http://vdi-frontdoor.vdi-system.svc:8081/auth"}, settings["access"])
	require.Equal(t, "portal", settings["sessions"].(map[string]any)["portalLabel"])
	require.Equal(t, "people", settingsText(t, local(otherPeople()))["sessions"].(map[string]any)["portalLabel"])
	for _, s := range []scenario{operator(nil), oidc(nil)} {
		require.NotContains(t, settingsText(t, s)["sessions"], "portalLabel")
	}
}

// TestLocalDoorFlags: the front door itself takes the flags of mode Local.
func TestLocalDoorFlags(t *testing.T) {
	t.Parallel()
	args := find[appsv1.Deployment](t, objects(t, local(map[string]string{"frontDoor.loginLifetime": "2h"})), "Deployment", doorName).Spec.Template.Spec.Containers[0].Args
	var f frontdoor.Flags
	set := flag.NewFlagSet(doorName, flag.ContinueOnError)
	f.Register(set)
	require.NoError(t, set.Parse(args))
	require.Equal(t, "2h0m0s", f.LoginLifetime.String())
	require.Equal(t, "/etc/vdi-frontdoor/people", set.Lookup("people-dir").Value.String())
	require.Empty(t, f.OIDCClientSecretFile)
}

// TestLocalDoorFiles: the people are a folder that the kubelet refreshes, for the group alone, and
// the pods start without them.
func TestLocalDoorFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set         map[string]string
		secret, key string
	}{
		"by default": {nil, "vdi-people", "people.yaml"},
		"by value":   {otherPeople(), "studio-people", "list.yaml"},
	} {
		pod := find[appsv1.Deployment](t, objects(t, local(c.set)), "Deployment", doorName).Spec.Template.Spec
		mounts := pod.Containers[0].VolumeMounts
		i := slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool { return m.Name == "people" })
		require.GreaterOrEqual(t, i, 0, name)
		require.Equal(t, corev1.VolumeMount{Name: "people", MountPath: "/etc/vdi-frontdoor/people", ReadOnly: true}, mounts[i], name)
		require.Contains(t, pod.Containers[0].Args, "--people-dir="+mounts[i].MountPath, name)
		i = slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "people" })
		require.GreaterOrEqual(t, i, 0, name)
		optional, mode := true, int32(0o440)
		require.Equal(t, &corev1.SecretVolumeSource{
			SecretName: c.secret, Items: []corev1.KeyToPath{{Key: c.key, Path: "people.yaml"}}, DefaultMode: &mode, Optional: &optional,
		}, pod.Volumes[i].Secret, name)
	}
	for name, s := range map[string]scenario{"Password": operator(nil), "OIDC": oidc(nil)} {
		pod := find[appsv1.Deployment](t, objects(t, s), "Deployment", doorName).Spec.Template.Spec
		require.False(t, slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "people" }), name)
		require.NotContains(t, strings.Join(pod.Containers[0].Args, " "), "people-dir", name)
	}
}

// TestLocalRoutes: people log in where no session can be, and auth leads there.
func TestLocalRoutes(t *testing.T) {
	t.Parallel()
	routes := ofKind(objects(t, local(map[string]string{"portal.label": "people"})), "IngressRoute")
	require.Len(t, routes, 1)
	priorities := map[string]int64{}
	for _, rule := range routes[0].Object["spec"].(map[string]any)["routes"].([]any) {
		rule := rule.(map[string]any)
		priorities[rule["match"].(string)] = rule["priority"].(int64)
		require.Equal(t, []any{map[string]any{"name": doorName, "port": int64(8080)}}, rule["services"])
	}
	require.Equal(t, map[string]int64{
		"Host(`auth.vdi.example.com`)": 1000, "Host(`people.vdi.example.com`)": 1000, "HostRegexp(`^[a-z0-9-]+[.]vdi[.]example[.]com$`)": 1,
	}, priorities)
}

// TestLocalIsALogin: the proxy asks the front door and desktops believe it, as in mode OIDC, so
// that the operator has the same rights and admission guards the same Middleware.
func TestLocalIsALogin(t *testing.T) {
	t.Parallel()
	inOIDC, inLocal := objects(t, oidc(nil)), objects(t, local(nil))
	require.Equal(t,
		find[rbacv1.ClusterRole](t, inOIDC, "ClusterRole", "vdi-operator:sessions").Rules,
		find[rbacv1.ClusterRole](t, inLocal, "ClusterRole", "vdi-operator:sessions").Rules)
	require.Equal(t, ofKind(inOIDC, "ValidatingAdmissionPolicy"), ofKind(inLocal, "ValidatingAdmissionPolicy"))
	require.Equal(t, // less the checksum of the settings
		find[appsv1.Deployment](t, inOIDC, "Deployment", operatorName).Spec.Template.Spec,
		find[appsv1.Deployment](t, inLocal, "Deployment", operatorName).Spec.Template.Spec)
	require.Equal(t,
		find[rbacv1.Role](t, inOIDC, "Role", doorName).Rules,
		find[rbacv1.Role](t, inLocal, "Role", doorName).Rules, "the people come as a file, not through the API")
}

// TestLocalUpgradeCheck gets the host where people will log in, in mode Local alone.
func TestLocalUpgradeCheck(t *testing.T) {
	t.Parallel()
	args := func(s scenario) []string {
		return jobs(t, objects(t, s))["upgrade"].Spec.Template.Spec.Containers[0].Args
	}
	require.Contains(t, args(local(otherPeople())), "--portal-host=people.vdi.example.com")
	require.NotContains(t, strings.Join(args(operator(nil)), " "), "--portal-host")
	require.NotContains(t, strings.Join(args(oidc(nil)), " "), "--portal-host")
}

// TestLocalNotes: how the Secret is made, of the names that the values say.
func TestLocalNotes(t *testing.T) {
	t.Parallel()
	notes := notesOf(t, local(nil))
	for _, words := range []string{
		"https://portal.vdi.example.com for a list",
		"kubectl exec -it -n vdi-system deployment/vdi-frontdoor -- vdi-frontdoor hash alice --user alice@example.com\n",
		"kubectl exec -i -n vdi-system deployment/vdi-frontdoor -- vdi-frontdoor check - < people.yaml\n" +
			"kubectl create secret generic vdi-people -n vdi-system --from-file=people.yaml\n",
		"kubectl create secret generic vdi-people -n vdi-system --from-file=people.yaml --dry-run=client -o yaml | kubectl apply -f -",
	} {
		require.Contains(t, notes, words)
	}
	for _, words := range []string{"WARNING", "alice-credentials", "identity provider", "<no value>", "https://auth."} {
		require.NotContains(t, notes, words)
	}
	notes = notesOf(t, local(map[string]string{"access.local.secret.name": "studio-people", "access.local.secret.key": "list.yaml", "portal.label": "people", "sessions.externalPort": "8443"}))
	require.Contains(t, notes, "https://people.vdi.example.com:8443")
	require.Contains(t, notes, "kubectl create secret generic studio-people -n vdi-system --from-file=list.yaml=people.yaml\n")
	require.Contains(t, notesOf(t, operator(localMode(nil))), "and nobody can log in", "a cluster without Traefik")
}

// TestLocalAlert: only where people are read from a Secret.
func TestLocalAlert(t *testing.T) {
	t.Parallel()
	rules := func(s scenario) string {
		s.set["prometheusRule.enabled"] = "true"
		s.args = prometheusOperator()
		text, err := yaml.Marshal(ofKind(objects(t, s), "PrometheusRule")[0].Object)
		require.NoError(t, err)
		return string(text)
	}
	inLocal := rules(local(otherPeople()))
	require.Contains(t, inLocal, "alert: VDIPeopleUnusable")
	require.Contains(t, inLocal, `expr: max by (pod) (vdi_frontdoor_people_usable{job="vdi-frontdoor",namespace="vdi-system"})`)
	require.Contains(t, inLocal, "in the Secret studio-people cannot be used")
	require.Contains(t, inLocal, "log in or reach a desktop", "what a front door that is down means")
	for _, s := range []scenario{operator(nil), oidc(nil)} {
		require.NotContains(t, rules(s), "VDIPeopleUnusable")
	}
}

// TestLocalRefuses: what cannot work, or would be ignored, fails with the remedy.
func TestLocalRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"no routes":        {localMode(map[string]string{"frontDoor.routes": "Never"}), "frontDoor.routes is Never, but access.mode is Local: people log in at portal.vdi.example.com, which needs the front door's routes; set it to Auto or Always"},
		"host of the door": {localMode(map[string]string{"portal.label": "auth"}), `portal.label is "auth", but auth.vdi.example.com is a host of the front door already, which leads people to the portal: choose another label, e.g. portal`},
		"bad key":          {localMode(map[string]string{"access.local.secret.key": "a/b"}), `access.local.secret.key is "a/b", which is no key of a Secret: write e.g. people.yaml`},
		"bad name":         {localMode(map[string]string{"access.local.secret.name": "A_b"}), `access.local.secret.name is "A_b", which is no name of a Secret: write e.g. vdi-people`},
		"two labels":       {localMode(map[string]string{"portal.label": "my.portal"}), `portal.label is "my.portal", which is no DNS label of lower-case letters, digits and -: write e.g. portal`},
		"capital":          {localMode(map[string]string{"portal.label": "Portal"}), `portal.label is "Portal", which is no DNS label`},
		"hyphen first":     {localMode(map[string]string{"portal.label": "-a"}), `portal.label is "-a", which is no DNS label`},
		"no label":         {localMode(map[string]string{"portal.label": ""}), "at '/portal/label': minLength"},
		"long label":       {localMode(map[string]string{"portal.label": strings.Repeat("a", 64)}), "at '/portal/label': maxLength"},
		"no name":          {localMode(map[string]string{"access.local.secret.name": ""}), "at '/access/local/secret/name': minLength"},
		"issuer":           {localMode(map[string]string{"access.oidc.issuerURL": "https://a"}), "access.oidc.issuerURL is set, but access.mode is Local, which ignores it: set access.mode to OIDC, or leave access.oidc out"},
		"claim":            {localMode(map[string]string{"access.oidc.userClaim": "sub"}), "access.oidc.userClaim is set, but access.mode is Local"},
		"groups":           {localMode(map[string]string{"access.oidc.groupsClaim": "groups"}), "access.oidc.groupsClaim is set, but access.mode is Local"},
		"only groups":      {localMode(map[string]string{"access.oidc.onlyGroups": "{a}"}), "access.oidc.onlyGroups is set, but access.mode is Local"},
		"scopes":           {localMode(map[string]string{"access.oidc.scopes": "{openid}"}), "access.oidc.scopes is set, but access.mode is Local"},
		"authority":        {localMode(map[string]string{"access.oidc.caBundle.configMap": "a"}), "access.oidc.caBundle.configMap is set, but access.mode is Local"},
		"client's key":     {localMode(map[string]string{"access.oidc.clientSecret.key": "a"}), "access.oidc.clientSecret.key is set, but access.mode is Local"},
		"name unused":      {map[string]string{"access.local.secret.name": "a"}, `access.local.secret.name is "a", but access.mode is Password, which ignores it: set access.mode to Local, or leave access.local out`},
		"key unused":       {oidc(map[string]string{"access.local.secret.key": "a"}).set, `access.local.secret.key is "a", but access.mode is OIDC, which ignores it: set access.mode to Local, or leave access.local out`},
		"label unused":     {map[string]string{"portal.label": "auth"}, `portal.label is "auth", but access.mode is Password, which ignores it: set access.mode to Local, or leave it out`},
		"flag twice":       {localMode(map[string]string{"frontDoor.extraArgs": "{--people-dir=/a}"}), `frontDoor.extraArgs[0] is "--people-dir=/a", a flag that the chart sets already`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, operator(c.set))
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "does not match pattern", "a regular expression is no sentence")
		})
	}
}
