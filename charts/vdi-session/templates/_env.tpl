{{/* Environment of the desktop: the login, the platform's settings, then what
the template adds and neither of them owns. The login comes first, so that a
template can pass it on as $(SELKIES_BASIC_AUTH_PASSWORD). */}}
{{- define "vdi-session.env" -}}
{{- $secret := include "vdi-session.credentials.name" . -}}
{{- $taken := dict "NVIDIA_VISIBLE_DEVICES" true -}}
{{- range .Values.streamer.protectedVariables }}{{ $_ := set $taken . true }}{{ end -}}
{{- range $name := .Values.credentials.userVariables }}
{{- $_ := set $taken $name true }}
- name: {{ $name | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret | quote }}
      key: desktop-username
{{- end }}
{{- range $name := .Values.credentials.passwordVariables }}
{{- $_ := set $taken $name true }}
- name: {{ $name | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret | quote }}
      key: desktop-password
{{- end }}
{{- if not .Values.resources.gpu.count }}
# Images ask for all GPUs; without a slice a desktop must see none.
- name: NVIDIA_VISIBLE_DEVICES
  value: void
{{- end }}
{{- range .Values.streamer.env }}
{{- $_ := set $taken .name true }}
- name: {{ .name | quote }}
  value: {{ .value | quote }}
{{- end }}
{{- range .Values.env }}
{{- if not (hasKey $taken .name) }}
{{- $_ := set $taken .name true }}
- name: {{ .name | quote }}
  {{- if hasKey . "valueFrom" }}
  valueFrom:
    {{- toYaml .valueFrom | nindent 4 }}
  {{- else }}
  value: {{ get . "value" | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}
