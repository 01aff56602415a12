{{/* The platform's own proxy. */}}

{{/* By this label it reads objects: never on pods, which admission would take for a desktop's. */}}
{{- define "vdi-platform.proxy.selector" -}}
vdi.kasm.io/proxy=true
{{- end -}}

{{- define "vdi-platform.proxy.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: vdi-platform
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
vdi.kasm.io/proxy: "true"
{{- end -}}
