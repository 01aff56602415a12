{{/* What to watch out for in the way the parts are put together. */}}

{{- define "vdi-platform.notes.warnings" -}}
{{- if (index .Values "gpu-operator").enabled }}
NVIDIA's GPU Operator runs privileged pods in {{ .Release.Namespace }}. Where Pod Security is enforced:

kubectl label namespace {{ .Release.Namespace }} pod-security.kubernetes.io/enforce=privileged
{{ with include "vdi-platform.registry.others" . }}
global.imageRegistry does not reach the GPU Operator's images. These keys name another registry:
{{ . }}
{{ end -}}
{{ end -}}
{{- $mode := (index .Values "vdi-operator" "sessions" "tls" | default dict).mode | default "Wildcard" -}}
{{- if .Values.traefik.enabled -}}
{{- $tag := (.Values.traefik.image | default dict).tag | default "" | toString -}}
{{- if and (index .Values "vdi-operator").enabled (eq "Old" (include "vdi-operator.proxy.judge" $tag)) }}
WARNING: traefik.image.tag is {{ $tag }}, which is too old. {{ include "vdi-operator.proxy.hole" . }}
{{- end }}
{{- if and (eq $mode "Wildcard") (not (include "vdi-platform.proxy.stores" . | fromJson | default .Values.traefik.tlsStore | default dict).default) }}
WARNING: tlsStore.default is empty: Traefik shows a self-signed certificate,
which browsers refuse. Store the certificate of *.{{ include "vdi-platform.domain" . }} as a TLS
Secret in {{ .Release.Namespace }} and name it in tlsStore.default.defaultCertificate.secretName.
{{- end }}
{{- if .Values.traefik.providers.kubernetesCRD.allowCrossNamespace }}
WARNING: traefik.providers.kubernetesCRD.allowCrossNamespace is on: whoever may write
routes in one namespace can reach the services of all.
{{- end }}
{{- if .Values.traefik.providers.kubernetesCRD.allowEmptyServices }}
WARNING: traefik.providers.kubernetesCRD.allowEmptyServices is on: a starting session's
URL answers 503.
{{- end }}
{{- end }}
{{- end -}}
