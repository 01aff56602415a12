{{/* Values that cannot work fail here, with the value's name and the remedy. */}}

{{- define "vdi-operator.require" -}}
{{- include "vdi-operator.require.domain" . -}}
{{- include "vdi-operator.require.formats" . -}}
{{- include "vdi-operator.require.proxy" . -}}
{{- include "vdi-operator.require.tls" . -}}
{{- include "vdi-operator.require.access" . -}}
{{- include "vdi-operator.require.portal" . -}}
{{- include "vdi-operator.require.frontDoor" . -}}
{{- include "vdi-operator.require.turn" . -}}
{{- include "vdi-operator.require.namespaces" . -}}
{{- include "vdi-operator.require.replicas" . -}}
{{- include "vdi-operator.require.leader" . -}}
{{- include "vdi-operator.require.ports" . -}}
{{- include "vdi-operator.require.overlay" . -}}
{{- if include "vdi-operator.makesForCluster" . }}{{ include "vdi-operator.require.alone" . }}{{ end -}}
{{- include "vdi-operator.require.tenancy" . -}}
{{- include "vdi-operator.require.gpuSharing" . -}}
{{- include "vdi-operator.require.slices" . -}}
{{- include "vdi-operator.disagree" . -}}
{{- end -}}

{{- define "vdi-operator.require.domain" -}}
{{- if not (include "vdi-operator.domain" .) -}}
{{- fail (printf "%s is required: the DNS domain under which every session gets a host, e.g. vdi.example.com" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.domain"))) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.tls" -}}
{{- $tls := .Values.sessions.tls -}}
{{- include "vdi-operator.require.oneTLS" . -}}
{{- if and (eq $tls.mode "Secret") (not $tls.secretName) -}}
{{- fail (printf "%s is required in mode Secret: the name of the TLS Secret in every session namespace, or use mode Wildcard" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.tls.secretName"))) -}}
{{- end -}}
{{- if and (eq $tls.mode "CertResolver") (not $tls.certResolver) -}}
{{- fail (printf "%s is required in mode CertResolver: the name of the proxy's certificate resolver, e.g. letsencrypt" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.tls.certResolver"))) -}}
{{- end -}}
{{- end -}}

{{/* A setting of another mode would be ignored in silence. */}}
{{- define "vdi-operator.require.oneTLS" -}}
{{- $tls := .Values.sessions.tls -}}
{{- if and $tls.secretName (ne $tls.mode "Secret") -}}
{{- fail (printf "%s is set, but sessions.tls.mode is %s, which ignores it: set the mode to Secret, or leave the name empty" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.tls.secretName")) $tls.mode) -}}
{{- end -}}
{{- if and (not (has $tls.certResolver (list "" "letsencrypt"))) (ne $tls.mode "CertResolver") -}}
{{- fail (printf "%s is %q, but sessions.tls.mode is %s, which ignores it: set the mode to CertResolver, or leave the resolver out" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.tls.certResolver")) $tls.certResolver $tls.mode) -}}
{{- end -}}
{{- end -}}

{{/* Without a front door nobody comes in, or sees why. */}}
{{- define "vdi-operator.require.frontDoor" -}}
{{- $replicas := int .Values.frontDoor.replicas -}}
{{- if lt $replicas 1 -}}
{{- fail (printf "%s is %d: suspended desktops could not be resumed, and with access.mode OIDC or Local nobody could log in; set it to 1 or more" (include "vdi-operator.valueName" (dict "root" . "name" "frontDoor.replicas")) $replicas) -}}
{{- end -}}
{{- if and (include "vdi-operator.access.logsIn" .) (eq .Values.frontDoor.routes "Never") -}}
{{- fail (printf "%s is Never, but access.mode is %s: people log in at %s, which needs the front door's routes; set it to Auto or Always" (include "vdi-operator.valueName" (dict "root" . "name" "frontDoor.routes")) .Values.access.mode (include "vdi-operator.access.loginHost" .)) -}}
{{- end -}}
{{- end -}}

{{/* A desktop that cannot reach its relay would start and never be seen. */}}
{{- define "vdi-operator.require.turn" -}}
{{- $turn := include "vdi-operator.turn" . | fromJson -}}
{{- $named := and (regexMatch "[a-zA-Z]" $turn.host) (not (contains ":" $turn.host)) -}}
{{- if and $named (not .Values.sessions.network.internet) (not $turn.ranges) -}}
{{- fail (printf "%s is required while sessions.network.internet is off and sessions.turn.host is a name: the CIDRs of the relay's addresses, or desktops could not reach it" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.turn.ranges"))) -}}
{{- end -}}
{{- if and (not $turn.host) $turn.ranges -}}
{{- fail (printf "%s is set, but sessions.turn.host is empty, so there is no relay: name it, or leave the ranges out" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.turn.ranges"))) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.namespaces" -}}
{{- if has .Release.Namespace .Values.watchNamespaces -}}
{{- fail (printf "%s must not hold the release namespace %s: sessions live in namespaces of their own, so that tenants cannot reach the platform's parts" (include "vdi-operator.valueName" (dict "root" . "name" "watchNamespaces")) .Release.Namespace) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.replicas" -}}
{{- if lt (int .Values.replicas) 1 -}}
{{- fail (printf "%s is %d: nothing would serve sessions; set it to 1 or more (for a pause, kubectl scale the Deployment to 0)" (include "vdi-operator.valueName" (dict "root" . "name" "replicas")) (int .Values.replicas)) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.leader" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) -}}
{{- fail (printf "%s is off with %d replicas: two operators would work at once; switch it on or set replicas to 1" (include "vdi-operator.valueName" (dict "root" . "name" "leaderElection.enabled")) (int .Values.replicas)) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.ports" -}}
{{- if eq (int .Values.metrics.port) (int .Values.health.port) -}}
{{- fail (printf "%s and health.port are both %d: give the probes a port of their own" (include "vdi-operator.valueName" (dict "root" . "name" "metrics.port")) (int .Values.health.port)) -}}
{{- end -}}
{{- end -}}

{{/* Without labels, desktops would admit every pod of the proxy's namespace. */}}
{{- define "vdi-operator.require.proxy" -}}
{{- if not .Values.sessions.proxy.podLabels -}}
{{- fail (printf "%s is empty: say which pods of %s are the proxy's, since desktops admit no others, e.g. app.kubernetes.io/name: traefik" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.proxy.podLabels")) (include "vdi-operator.proxy.namespace" .)) -}}
{{- end -}}
{{- end -}}

{{/* Kinds are those of platform/wire/kinds.go, operations those of RFC 6902. */}}
{{- define "vdi-operator.require.overlay" -}}
{{- $kinds := list "NetworkPolicy" "ConfigMap" "PersistentVolumeClaim" "Service" "PodDisruptionBudget" "Pod" "Middleware" "IngressRoute" -}}
{{- range $i, $step := .Values.sessions.overlay -}}
{{- if and $step.kind (not (has $step.kind $kinds)) -}}
{{- fail (printf "%s[%d].kind is %q, which is no kind of a session's objects: write one of %s" (include "vdi-operator.valueName" (dict "root" $ "name" "sessions.overlay")) $i $step.kind (join ", " $kinds)) -}}
{{- end -}}
{{- range $n, $operation := $step.jsonPatch -}}
{{- if not (has (get $operation "op") (list "add" "remove" "replace" "move" "copy" "test")) -}}
{{- fail (printf "%s[%d].jsonPatch[%d].op is %q: write add, remove, replace, move, copy or test" (include "vdi-operator.valueName" (dict "root" $ "name" "sessions.overlay")) $i $n (get $operation "op" | toString)) -}}
{{- end -}}
{{- end -}}
{{- $unknown := omit $step "kind" "merge" "jsonPatch" -}}
{{- if or $unknown (not $step.kind) (eq (empty $step.merge) (empty $step.jsonPatch)) -}}
{{- fail (printf "%s[%d] needs a kind and either merge or jsonPatch, and nothing else" (include "vdi-operator.valueName" (dict "root" $ "name" "sessions.overlay")) $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.gpuSharing" -}}
{{- $sharing := .Values.gpuSharing -}}
{{- if and $sharing.managePolicy (not $sharing.enabled) -}}
{{- fail (printf "%s is on, but gpuSharing.enabled is off: switch it on, or managePolicy off" (include "vdi-operator.valueName" (dict "root" . "name" "gpuSharing.managePolicy"))) -}}
{{- end -}}
{{- if and $sharing.configs (not $sharing.managePolicy) -}}
{{- fail (printf "%s is set, but written only with gpuSharing.managePolicy: where the umbrella installs the GPU Operator set gpu-operator.devicePlugin.config.data instead" (include "vdi-operator.valueName" (dict "root" . "name" "gpuSharing.configs"))) -}}
{{- end -}}
{{- if and $sharing.configs (not (hasKey $sharing.configs $sharing.default)) -}}
{{- fail (printf "%s is %q, but gpuSharing.configs does not hold it: nodes without a label would get no configuration" (include "vdi-operator.valueName" (dict "root" . "name" "gpuSharing.default")) $sharing.default) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.slices" -}}
{{- if and .Values.gpuSharing.dedicated .Values.gpuSharing.managePolicy -}}
{{- fail (printf "%s is set, but with gpuSharing.managePolicy these are the keys of gpuSharing.configs with replicas: 1: leave it empty" (include "vdi-operator.valueName" (dict "root" . "name" "gpuSharing.dedicated"))) -}}
{{- end -}}
{{- range $key, $config := .Values.gpuSharing.configs -}}
{{- if lt (int $config.replicas) 1 -}}
{{- fail (printf "%s is %d, which is no number of slices: write 1 for whole GPUs, or 2 and more" (include "vdi-operator.valueName" (dict "root" $ "name" (printf "gpuSharing.configs.%s.replicas" $key))) (int $config.replicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* GitOps tools render without a cluster: they pass the API to helm template
with --api-versions. */}}
{{- define "vdi-operator.require.serviceMonitorCRD" -}}
{{- if not (include "vdi-operator.knows" (dict "root" . "api" "monitoring.coreos.com/v1" "kind" "ServiceMonitor")) -}}
{{- fail (printf "%s is on, but this cluster does not know ServiceMonitor (monitoring.coreos.com/v1): install the Prometheus Operator first, or switch it off; when rendering without a cluster add --api-versions monitoring.coreos.com/v1" (include "vdi-operator.valueName" (dict "root" . "name" "serviceMonitor.enabled"))) -}}
{{- end -}}
{{- end -}}

{{/* Two operators would both act on the same sessions. Only a cluster can tell:
rendered without one, Helm finds nothing here, and refuses at install because
the roles below have the same names. */}}
{{- define "vdi-operator.require.alone" -}}
{{- $everywhere := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" (include "vdi-operator.clusterRole.sessionsName" .) -}}
{{- include "vdi-operator.require.aloneIn" (dict "root" . "role" $everywhere "where" "all namespaces") -}}
{{- range $namespace := .Values.watchNamespaces -}}
{{- $role := lookup "rbac.authorization.k8s.io/v1" "Role" $namespace (include "vdi-operator.sessionRole.name" $) -}}
{{- include "vdi-operator.require.aloneIn" (dict "root" $ "role" $role "where" (printf "namespace %s" $namespace)) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.aloneIn" -}}
{{- if .role -}}
{{- $owner := .role.metadata.annotations | default dict -}}
{{- $namespace := get $owner "meta.helm.sh/release-namespace" -}}
{{- $release := get $owner "meta.helm.sh/release-name" -}}
{{- if not $release -}}
{{- fail (printf "the %s %s is there already, and Helm did not make it: an operator that was installed in another way serves %s (docs/gitops.md); go on in that way, or delete what it made first" .role.kind .role.metadata.name .where) -}}
{{- end -}}
{{- if or (ne $namespace .root.Release.Namespace) (ne $release .root.Release.Name) -}}
{{- fail (printf "release %q in namespace %q already serves %s, and two operators must not act on the same sessions: upgrade that one, uninstall it first, or give each its own list in %s" $release $namespace .where (include "vdi-operator.valueName" (dict "root" .root "name" "watchNamespaces"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
