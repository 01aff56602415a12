{{- define "vdi-platform.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: vdi-platform
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Under which sessions get their hosts. */}}
{{- define "vdi-platform.domain" -}}
{{- dig "sessions" "domain" "" (index .Values "vdi-operator") | default (.Values.global | default dict).domain -}}
{{- end -}}

{{- define "vdi-platform.monitoring" -}}
{{- dig "monitoring" dict (.Values.global | default dict) | default dict | toJson -}}
{{- end -}}

{{/* Who makes what lies outside of the release namespace: the operator's value counts for all. */}}
{{- define "vdi-platform.clusterObjects" -}}
{{- $operator := index .Values "vdi-operator" -}}
{{- ternary ($operator.clusterObjects | default "Create") "Create" ($operator.enabled | default false) -}}
{{- end -}}
