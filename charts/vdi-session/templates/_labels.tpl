{{/* Labels that select the pod of this session and no other. */}}
{{- define "vdi-session.selector" -}}
app.kubernetes.io/name: vdi-session
app.kubernetes.io/instance: {{ include "vdi-session.name" . | quote }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "vdi-session.labels" -}}
{{ include "vdi-session.selector" . }}
app.kubernetes.io/managed-by: vdi-operator
{{- with .Values.session.identity }}
vdi.kasm.io/user: {{ . | quote }}
{{- end }}
{{- with .Values.session.template }}
vdi.kasm.io/template: {{ . | quote }}
{{- end }}
{{- end -}}
