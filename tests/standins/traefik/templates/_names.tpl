{{- define "traefik.fullname" -}}
{{- .Values.fullnameOverride | default (printf "%s-traefik" .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* As the real chart labels its pods: session policies select by these. */}}
{{- define "traefik.labels.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ printf "%s-%s" .Release.Name .Release.Namespace | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "traefik.labels" -}}
{{ include "traefik.labels.selector" . }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* As the real chart names its image: the umbrella redefines the first and asks the second. */}}
{{- define "traefik.imageRegistry" -}}
{{- .Values.image.registry | default "docker.io" -}}
{{- end -}}

{{- define "traefik.image-name" -}}
{{- printf "%s/%s:%s%s" (include "traefik.imageRegistry" .) .Values.image.repository .Values.image.tag (empty .Values.image.digest | ternary "" (printf "@%s" .Values.image.digest)) -}}
{{- end -}}
