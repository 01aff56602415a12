{{/* Names are defined here once; the other templates join no strings. */}}

{{- define "vdi-session.name" -}}
{{- .Values.session.name | default .Release.Name -}}
{{- end -}}

{{- define "vdi-session.home.name" -}}
{{- .Values.home.persistence.existingClaim | default (printf "vdi-data-%s" (include "vdi-session.name" .)) -}}
{{- end -}}

{{- define "vdi-session.statementKeys.name" -}}
{{- printf "%s-statement-keys" (include "vdi-session.name" .) -}}
{{- end -}}

{{- define "vdi-session.forwardAuth.name" -}}
{{- printf "%s-forward-auth" (include "vdi-session.name" .) -}}
{{- end -}}

{{- define "vdi-session.credentials.name" -}}
{{- .Values.credentials.secretName | default (printf "%s-credentials" (include "vdi-session.name" .)) -}}
{{- end -}}
