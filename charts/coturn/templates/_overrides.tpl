{{/* What the values change of every pod of this chart. What keeps a pod within Pod Security
stays unless a value names it. */}}

{{/* Whether the cluster knows a kind: dict root api (group and version) and kind. A cluster lists
both; who renders without one may give the group and version alone, for all of its kinds. */}}
{{- define "coturn.knows" -}}
{{- $versions := .root.Capabilities.APIVersions -}}
{{- $kinds := false -}}
{{- range $versions }}{{ if hasPrefix (printf "%s/" $.api) . }}{{ $kinds = true }}{{ end }}{{ end -}}
{{- if or ($versions.Has (printf "%s/%s" .api .kind)) (and ($versions.Has .api) (not $kinds)) -}}true{{- end -}}
{{- end -}}

{{/* Pull secrets as Kubernetes writes them, {name: x}, and as bare names, which earlier releases took. */}}
{{- define "coturn.pod.pullSecrets" -}}
{{- $names := list -}}
{{- range concat ((.Values.global | default dict).imagePullSecrets | default list) (.Values.imagePullSecrets | default list) -}}
{{- if kindIs "map" . }}{{ $names = append $names .name }}{{ else }}{{ $names = append $names . }}{{ end -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* Of a pod: dict root user, and group where Secrets are mounted for one alone. OpenShift's
security context constraints choose users from the namespace's range. */}}
{{- define "coturn.pod.securityContext" -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- $adapt := dig "compatibility" "openshift" "adaptSecurityContext" "auto" (.root.Values.global | default dict) -}}
{{- if not (or (eq $adapt "force") (and (eq $adapt "auto") (.root.Capabilities.APIVersions.Has "security.openshift.io/v1"))) -}}
{{- $_ := set $context "runAsUser" .user -}}
{{- $_ := set $context "runAsGroup" .user -}}
{{- if .group }}{{ $_ := set $context "fsGroup" .user }}{{ end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $context (deepCopy (.root.Values.podSecurityContext | default dict))) -}}
{{- end -}}

{{/* Of a container: dict ours override. */}}
{{- define "coturn.container.securityContext" -}}
{{- $context := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $context (.ours | default dict) (deepCopy (.override | default dict))) -}}
{{- end -}}

{{/* The whole installation's switch, labels and namespace of Prometheus, as JSON. */}}
{{- define "coturn.monitoring" -}}
{{- dig "monitoring" dict (.Values.global | default dict) | default dict | toJson -}}
{{- end -}}

{{/* Labels by which Prometheus finds an object: dict root part. */}}
{{- define "coturn.monitoring.labels" -}}
{{- $all := include "coturn.monitoring" .root | fromJson -}}
{{- merge dict (include "coturn.labels" .root | fromYaml) (get .root.Values .part).labels ($all.labels | default dict) | toYaml -}}
{{- end -}}

{{/* Who may read metrics. */}}
{{- define "coturn.monitoring.peers" -}}
{{- $peers := .Values.networkPolicy.metricsFrom | default list -}}
{{- with (include "coturn.monitoring" . | fromJson).namespace -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .))) -}}
{{- end -}}
{{- $peers | uniq | toJson -}}
{{- end -}}

{{/* The relay's ports, as JSON: what global.turn gives to desktops counts here, too. */}}
{{- define "coturn.ports" -}}
{{- $all := dig "turn" dict (.Values.global | default dict) | default dict -}}
{{- $ports := deepCopy .Values.ports -}}
{{- with $all.port }}{{ $_ := set $ports "turn" . }}{{ end -}}
{{- with $all.tlsPort }}{{ $_ := set $ports "tls" . }}{{ end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* What of a security context leaves less secure than the chart does, as JSON: dict context (as it
is rendered), pod (whether of a pod), adds (capabilities of the chart's own) and grows (whether
the chart itself lets privileges grow). */}}
{{- define "coturn.loosened" -}}
{{- $context := .context -}}
{{- $found := list -}}
{{- if or (eq "false" (get $context "runAsNonRoot" | toString)) (and .pod (ne "true" (get $context "runAsNonRoot" | toString))) }}{{ $found = append $found "runAsNonRoot" }}{{ end -}}
{{- if eq "0" (get $context "runAsUser" | toString) }}{{ $found = append $found "runAsUser" }}{{ end -}}
{{- $seccomp := get $context "seccompProfile" | default dict -}}
{{- if or (eq "Unconfined" (get $seccomp "type" | toString)) (and .pod (not $seccomp)) }}{{ $found = append $found "seccompProfile" }}{{ end -}}
{{- if eq "true" (get $context "privileged" | toString) }}{{ $found = append $found "privileged" }}{{ end -}}
{{- if not (or .pod .grows (eq "false" (get $context "allowPrivilegeEscalation" | toString))) }}{{ $found = append $found "allowPrivilegeEscalation" }}{{ end -}}
{{- $capabilities := get $context "capabilities" | default dict -}}
{{- range get $capabilities "add" | default list -}}
{{- if not (has . ($.adds | default list)) }}{{ $found = append $found (printf "capabilities.add %v" .) }}{{ end -}}
{{- end -}}
{{- if not (or .pod (has "ALL" (get $capabilities "drop" | default list))) }}{{ $found = append $found "capabilities.drop" }}{{ end -}}
{{- toJson $found -}}
{{- end -}}
