{{/* What the values change of every pod of this chart. What keeps a pod within Pod Security
"restricted" stays unless a value names it. */}}

{{/* Whether the cluster knows a kind: dict root api (group and version) and kind. A cluster lists
both; who renders without one may give the group and version alone, for all of its kinds. */}}
{{- define "vdi-operator.knows" -}}
{{- $versions := .root.Capabilities.APIVersions -}}
{{- $kinds := false -}}
{{- range $versions }}{{ if hasPrefix (printf "%s/" $.api) . }}{{ $kinds = true }}{{ end }}{{ end -}}
{{- if or ($versions.Has (printf "%s/%s" .api .kind)) (and ($versions.Has .api) (not $kinds)) -}}true{{- end -}}
{{- end -}}

{{/* Names of pull secrets as JSON, of global.imagePullSecrets and a chart's own: dict root own.
Both as Kubernetes writes them, {name: x}, and as bare names, which earlier releases took. */}}
{{- define "vdi-operator.pullSecrets" -}}
{{- $names := list -}}
{{- range concat ((.root.Values.global | default dict).imagePullSecrets | default list) (.own | default list) -}}
{{- if kindIs "map" . }}{{ $names = append $names .name }}{{ else }}{{ $names = append $names . }}{{ end -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end -}}

{{- define "vdi-operator.pod.pullSecrets" -}}
{{- with include "vdi-operator.pullSecrets" (dict "root" . "own" .Values.imagePullSecrets) | fromJsonArray -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* OpenShift's security context constraints choose users from the namespace's range, and
refuse any other. */}}
{{- define "vdi-operator.pod.choosesUser" -}}
{{- $adapt := dig "compatibility" "openshift" "adaptSecurityContext" "auto" (.Values.global | default dict) -}}
{{- if not (or (eq $adapt "force") (and (eq $adapt "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1"))) -}}
true
{{- end -}}
{{- end -}}

{{/* Of a pod: dict root override, and fsGroup where Secrets are mounted for a group alone. */}}
{{- define "vdi-operator.pod.securityContext" -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if include "vdi-operator.pod.choosesUser" .root -}}
{{- $_ := set $context "runAsUser" 65532 -}}
{{- $_ := set $context "runAsGroup" 65532 -}}
{{- with .fsGroup }}{{ $_ := set $context "fsGroup" . }}{{ end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $context (deepCopy (.override | default dict))) -}}
{{- end -}}

{{/* Of a container: the values' map, over ours. */}}
{{- define "vdi-operator.container.securityContext" -}}
{{- $context := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $context (deepCopy (. | default dict))) -}}
{{- end -}}

{{- define "vdi-operator.revisionHistoryLimit" -}}
{{- ternary 10 . (kindIs "invalid" .) | int -}}
{{- end -}}

{{/* Families of a Service's addresses. */}}
{{- define "vdi-operator.service.families" -}}
{{- with .Values.service | default dict -}}
{{- with .ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Where a pod runs: dict values, and selector where several are spread over nodes. */}}
{{- define "vdi-operator.pod.placement" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else if .selector }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- .selector | nindent 8 }}
{{- end }}
{{- end -}}

{{/* Arguments of the operator, without extraArgs. */}}
{{- define "vdi-operator.args" -}}
- --config=/etc/vdi/config.yaml
- --leader-elect={{ .Values.leaderElection.enabled }}
- --metrics-bind-address=:{{ .Values.metrics.port }}
- --health-probe-bind-address=:{{ .Values.health.port }}
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
{{- if include "vdi-operator.access.logsIn" . }}
- --statement-keys-dir=/etc/vdi-frontdoor/public-keys
{{- end }}
{{- if (include "vdi-operator.turn" . | fromJson).host }}
- --turn-secret-dir=/etc/vdi-turn
{{- end }}
- --workers={{ .Values.workers }}
- --log-level={{ .Values.logLevel }}
{{- end -}}

{{/* What of a security context leaves less secure than the chart does, as JSON: dict context (as it
is rendered), pod (whether of a pod), adds (capabilities of the chart's own) and grows (whether
the chart itself lets privileges grow). */}}
{{- define "vdi-operator.loosened" -}}
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

{{- define "vdi-operator.notes.loosened" -}}
{{- range $prefix, $values := dict "" .Values "frontDoor." .Values.frontDoor -}}
{{- $pod := include "vdi-operator.pod.securityContext" (dict "root" $ "override" $values.podSecurityContext) | fromYaml -}}
{{- $container := include "vdi-operator.container.securityContext" $values.containerSecurityContext | fromYaml -}}
{{- range $key, $found := dict "podSecurityContext" (include "vdi-operator.loosened" (dict "context" $pod "pod" true)) "containerSecurityContext" (include "vdi-operator.loosened" (dict "context" $container)) -}}
{{- with fromJsonArray $found }}
WARNING: {{ include "vdi-operator.valueName" (dict "root" $ "name" (print $prefix $key)) }} makes the platform's own pods less secure than
they need be ({{ join ", " . }}): leave that out.
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
