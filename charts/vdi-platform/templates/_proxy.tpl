{{/* The platform's own proxy. */}}

{{/* By this label it reads objects: never on pods, which admission would take for a desktop's. */}}
{{- define "vdi-platform.proxy.selector" -}}
vdi.kasm.io/proxy=true
{{- end -}}

{{/* The TLS stores, with the one for a certificate that this chart asks for, as JSON. */}}
{{- define "vdi-platform.proxy.stores" -}}
{{- $stores := deepCopy (.Values.tlsStore | default dict) -}}
{{- $certificate := .Values.certificate | default dict -}}
{{- if and $certificate.enabled (not $stores.default) -}}
{{- $_ := set $stores "default" (dict "defaultCertificate" (dict "secretName" $certificate.secretName)) -}}
{{- end -}}
{{- toJson $stores -}}
{{- end -}}

{{- define "vdi-platform.proxy.labels" -}}
{{ include "vdi-platform.labels" . }}
vdi.kasm.io/proxy: "true"
{{- end -}}
