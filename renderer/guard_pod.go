package renderer

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

const (
	// agentGroup is the agent's user, too.
	agentGroup int64 = 65532
)

// podFields are the fields a session's pod may have. A list of what is allowed
// stays right when Kubernetes adds fields; missing on purpose are, among others,
// hostNetwork, hostPID, hostIPC, nodeName, serviceAccountName, priority,
// resourceClaims, ephemeralContainers, and shareProcessNamespace, in which a
// desktop that runs as root could read the agent's memory.
func podFields() []string {
	return []string{
		"activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy",
		"enableServiceLinks", "hostAliases", "hostUsers", "hostname", "imagePullSecrets", "initContainers", "nodeSelector",
		"overhead", "preemptionPolicy", "priorityClassName", "restartPolicy", "runtimeClassName", "schedulerName",
		"securityContext", "setHostnameAsFQDN", "subdomain", "terminationGracePeriodSeconds",
		"tolerations", "topologySpreadConstraints", "volumes",
	}
}

func containerFields() []string {
	return []string{
		"args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports",
		"readinessProbe", "resizePolicy", "resources", "restartPolicy", "securityContext", "startupProbe", "stdin",
		"terminationMessagePath", "terminationMessagePolicy", "tty", "volumeMounts", "workingDir",
	}
}

// volumeFields are the kinds of volumes a pod may use: those of Pod Security
// "restricted" without csi.
func volumeFields() []string {
	return []string{"name", "configMap", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}
}

// baselineCapabilities may be added in profile Baseline (Pod Security Standards,
// "baseline", without NET_RAW, which Kubernetes does not list either).
func baselineCapabilities() []string {
	return []string{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
		"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
	}
}

func (e expectation) checkPod(f *findings, spec map[string]any) {
	onlyKeys(f, "spec.", spec, podFields()...)
	f.refuse(spec["automountServiceAccountToken"] != false, "spec.automountServiceAccountToken must be false")
	f.refuse(spec["enableServiceLinks"] != false, "spec.enableServiceLinks must be false")
	e.checkPodSecurity(f, spec["securityContext"])
	checkScheduling(f, spec)
	for i, v := range manifest.Maps(spec["volumes"]) {
		e.checkVolume(f, fmt.Sprintf("spec.volumes[%d].", i), v)
	}
	for _, field := range []string{"containers", "initContainers"} {
		for i, c := range manifest.Maps(spec[field]) {
			e.checkContainer(f, fmt.Sprintf("spec.%s[%d].", field, i), c)
		}
	}
	e.checkPullSecrets(f, spec)
	e.checkDesktop(f, manifest.Maps(spec["containers"]))
	e.checkAgent(f, spec)
	e.checkGPUs(f, spec)
}

func (e expectation) isBaseline() bool { return e.profile == vdi.ProfileBaseline }

func (e expectation) checkPodSecurity(f *findings, v any) {
	security, _ := v.(map[string]any)
	onlyKeys(f, "spec.securityContext.", security, "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "runAsNonRoot", "seccompProfile", "supplementalGroups", "supplementalGroupsPolicy")
	f.refuse(!e.isBaseline() && security["runAsNonRoot"] != true, "spec.securityContext.runAsNonRoot must be true in profile Restricted")
	f.refuse(security["seccompProfile"] == nil, "spec.securityContext.seccompProfile must be set")
	e.checkIdentity(f, "spec.securityContext.", security)
	checkUsers(f, "spec.securityContext.", security)
	e.checkGroups(f, list(security["supplementalGroups"]))
}

// checkGroups keeps desktops out of the agent's group, and out of root's unless
// they may be root.
func (e expectation) checkGroups(f *findings, groups []any) {
	for i, group := range groups {
		number, whole := group.(int64)
		at := fmt.Sprintf("spec.securityContext.supplementalGroups[%d]", i)
		f.refuse(!whole, "%s: %v is no whole number", at, group)
		f.refuse(whole && number == agentGroup, "%s: %d is the agent's group", at, number)
		f.refuse(whole && number == 0 && !e.isBaseline(), "%s: 0 (root's group) needs profile Baseline", at)
	}
}

// checkIdentity is for pods and containers alike.
func (e expectation) checkIdentity(f *findings, at string, security map[string]any) {
	root, _ := security["runAsUser"].(int64)
	_, set := security["runAsUser"]
	f.refuse(!e.isBaseline() && set && root == 0, "%srunAsUser 0 (root) needs profile Baseline", at)
	f.refuse(!e.isBaseline() && security["runAsNonRoot"] == false, "%srunAsNonRoot must be true in profile Restricted", at)
	seccomp, found := security["seccompProfile"]
	kind := manifest.Nested(security, "seccompProfile", "type")
	f.refuse(found && seccomp != nil && kind != "RuntimeDefault" && kind != "Localhost", "%sseccompProfile must be RuntimeDefault or Localhost", at)
}

// checkScheduling keeps desktops off control planes and out of the priorities
// of the cluster's own parts.
func checkScheduling(f *findings, spec map[string]any) {
	f.refuse(strings.HasPrefix(manifest.Text(spec["priorityClassName"]), "system-"), "spec.priorityClassName must not be one of the system's")
	for i, t := range manifest.Maps(spec["tolerations"]) {
		key := manifest.Text(t["key"])
		everything := key == "" && t["effect"] != "PreferNoSchedule"
		f.refuse(everything, "spec.tolerations[%d] bears every taint; name a key", i)
		f.refuse(key == "node-role.kubernetes.io/control-plane" || key == "node-role.kubernetes.io/master", "spec.tolerations[%d] leads to control planes", i)
	}
}

func (e expectation) checkVolume(f *findings, at string, v map[string]any) {
	onlyKeys(f, at, v, volumeFields()...)
	for i, source := range manifest.Maps(manifest.Nested(v, "projected", "sources")) {
		onlyKeys(f, fmt.Sprintf("%sprojected.sources[%d].", at, i), source, "configMap", "downwardAPI", "secret")
	}
	claim := manifest.Text(manifest.Nested(v, "persistentVolumeClaim", "claimName"))
	f.refuse(strings.HasPrefix(claim, HomeClaimName("")) && claim != e.claim, "%spersistentVolumeClaim.claimName %q is another session's home", at, claim)
	f.refuse(v["name"] == wire.VolumeAgentState && v["emptyDir"] == nil, "%sname: %s must be an emptyDir", at, wire.VolumeAgentState)
	e.checkContent(f, at, v)
}

func (e expectation) checkContainer(f *findings, at string, c map[string]any) {
	onlyKeys(f, at, c, containerFields()...)
	for i, port := range manifest.Maps(c["ports"]) {
		onlyKeys(f, fmt.Sprintf("%sports[%d].", at, i), port, "name", "containerPort", "protocol")
	}
	security, _ := c["securityContext"].(map[string]any)
	e.checkContainerSecurity(f, at+"securityContext.", security)
	checkHandlers(f, at, c)
}

func (e expectation) checkContainerSecurity(f *findings, at string, security map[string]any) {
	onlyKeys(f, at, security, "allowPrivilegeEscalation", "capabilities", "privileged", "readOnlyRootFilesystem", "runAsGroup", "runAsNonRoot", "runAsUser", "seccompProfile")
	f.refuse(security["privileged"] != nil && security["privileged"] != false, "%sprivileged is not allowed", at)
	f.refuse(!e.isBaseline() && security["allowPrivilegeEscalation"] != false, "%sallowPrivilegeEscalation must be false in profile Restricted", at)
	e.checkIdentity(f, at, security)
	e.checkCapabilities(f, at+"capabilities.", security)
}

func (e expectation) checkCapabilities(f *findings, at string, security map[string]any) {
	dropped, _ := manifest.Nested(security, "capabilities", "drop").([]any)
	f.refuse(!slices.Contains(dropped, any("ALL")), "%sdrop must hold ALL", at)
	allowed := []string{"NET_BIND_SERVICE"}
	if e.isBaseline() {
		allowed = baselineCapabilities()
	}
	added, _ := manifest.Nested(security, "capabilities", "add").([]any)
	for _, name := range added {
		f.refuse(!slices.Contains(allowed, manifest.Text(name)), "%sadd: %v is not allowed in profile %s", at, name, e.profile)
	}
}

// checkHandlers refuses probes and hooks that name a host: the kubelet would
// send the request, from the node's network.
func checkHandlers(f *findings, at string, c map[string]any) {
	for _, path := range [][]string{{"livenessProbe"}, {"readinessProbe"}, {"startupProbe"}, {"lifecycle", "postStart"}, {"lifecycle", "preStop"}} {
		for _, way := range []string{"httpGet", "tcpSocket"} {
			host := manifest.Text(manifest.Nested(c, append(slices.Clone(path), way, "host")...))
			f.refuse(host != "", "%s%s.%s.host is not allowed", at, strings.Join(path, "."), way)
		}
	}
}

// checkDesktop requires container 0 and a login that comes from the
// session's Secret and from nowhere else.
func (e expectation) checkDesktop(f *findings, containers []map[string]any) {
	if len(containers) == 0 || containers[0]["name"] != wire.ContainerDesktop {
		f.add("spec.containers[0] must be %q", wire.ContainerDesktop)
		return
	}
	_, found := containers[0]["envFrom"]
	f.refuse(found, "spec.containers[0].envFrom is not allowed: it could carry a login")
	for _, name := range e.passwords {
		e.checkLogin(f, containers[0], name, wire.KeyDesktopPassword)
	}
	for _, name := range e.users {
		e.checkLogin(f, containers[0], name, wire.KeyDesktopUsername)
	}
	checkUnique(f, containers[0])
}

// checkAgent keeps the way in: nobody takes the agent's place, and nobody
// but it reads the session's Secret as files or has the agent's own folder.
func (e expectation) checkAgent(f *findings, spec map[string]any) {
	first := manifest.Maps(spec["initContainers"])
	if len(first) == 0 || first[0]["name"] != wire.ContainerAgent || first[0]["restartPolicy"] != "Always" {
		f.add("spec.initContainers[0] must be %q with restartPolicy Always", wire.ContainerAgent)
		return
	}
	f.refuse(!reflect.DeepEqual(first[0]["command"], any([]any{wire.AgentProgram})), "spec.initContainers[0].command must be %s", wire.AgentProgram)
	for _, field := range []string{"containers", "initContainers"} {
		for i, c := range manifest.Maps(spec[field]) {
			at := fmt.Sprintf("spec.%s[%d].", field, i)
			e.checkSources(f, at, c, field == "containers" && i == 0)
			checkGPURequests(f, at, c)
			if agent := field == "initContainers" && i == 0; !agent {
				checkOtherContainer(f, at, c)
			}
		}
	}
}

// checkOtherContainer keeps others than the agent from its name, its user, its ports and its files.
func checkOtherContainer(f *findings, at string, c map[string]any) {
	security, _ := c["securityContext"].(map[string]any)
	checkUsers(f, at+"securityContext.", security)
	for i, m := range manifest.Maps(c["volumeMounts"]) {
		own := m["name"] == wire.VolumeCredentials || m["name"] == wire.VolumeTURN
		f.refuse(own, "%svolumeMounts[%d]: only the agent reads the session's Secrets", at, i)
		f.refuse(m["name"] == wire.VolumeAgentState, "%svolumeMounts[%d]: only the agent may mount %s", at, i, wire.VolumeAgentState)
	}
	for i, port := range manifest.Maps(c["ports"]) {
		taken := manifest.Text(port["name"]) == wire.PortAgent || manifest.Text(port["name"]) == wire.PortAgentStatus
		f.refuse(taken, "%sports[%d].name %q is the agent's", at, i, port["name"])
		number, _ := port["containerPort"].(int64)
		agents := number >= wire.AgentVisitorPort && number <= wire.AgentLocalPort
		f.refuse(agents, "%sports[%d].containerPort %d is the agent's (%d to %d)", at, i, number, wire.AgentVisitorPort, wire.AgentLocalPort)
	}
}

func (e expectation) checkLogin(f *findings, desktop map[string]any, variable, key string) {
	want := e.loginEntry(variable, key)
	found := slices.ContainsFunc(manifest.Maps(desktop["env"]), func(entry map[string]any) bool { return reflect.DeepEqual(entry, want) })
	f.refuse(!found, "spec.containers[0].env: %s must come from the Secret %s", variable, e.secret)
}

func (e expectation) loginEntry(variable, key string) map[string]any {
	return map[string]any{"name": variable, "valueFrom": map[string]any{
		"secretKeyRef": map[string]any{"name": e.secret, "key": key},
	}}
}

// checkUnique refuses variables that are given twice: the later would win.
func checkUnique(f *findings, desktop map[string]any) {
	seen := map[string]bool{}
	for _, entry := range manifest.Maps(desktop["env"]) {
		name := manifest.Text(entry["name"])
		f.refuse(seen[name], "spec.containers[0].env: %s is given twice", name)
		seen[name] = true
	}
}

// checkGPUs gives the desktop the slices that were agreed on, and GPUs of the
// same vendor to no other container.
func (e expectation) checkGPUs(f *findings, spec map[string]any) {
	vendor, _, _ := strings.Cut(e.gpuResource, "/")
	for _, field := range []string{"containers", "initContainers"} {
		for i, c := range manifest.Maps(spec[field]) {
			at := fmt.Sprintf("spec.%s[%d].resources.", field, i)
			desktop := field == "containers" && i == 0
			for _, part := range []string{"limits", "requests"} {
				sizes, _ := manifest.Nested(c, "resources", part).(map[string]any)
				e.checkSizes(f, at+part+".", sizes, vendor, desktop)
			}
		}
	}
}

func (e expectation) checkSizes(f *findings, at string, sizes map[string]any, vendor string, desktop bool) {
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if strings.HasPrefix(name, vendor+"/") {
			agreed := desktop && name == e.gpuResource && sizes[name] == e.gpus
			f.refuse(!agreed, "%s%s: only the desktop may have GPUs, and %d of %s", at, name, e.gpus, e.gpuResource)
		}
	}
}
