{{/* The hook makes the Secret before the relay starts, and again before upgrades
from a release that had none. Nothing of it stays, but the Secret. With hooks.enabled off
it is a plain Job, for tools that run no hooks. */}}

{{- define "coturn.maker.isHook" -}}
{{- if ne "false" (get (.Values.hooks | default dict) "enabled" | toString) }}true{{ end -}}{{/* helm upgrade --reuse-values knows no new defaults */ -}}
{{- end -}}

{{- define "coturn.maker.annotations" -}}
{{- if include "coturn.maker.isHook" .root -}}
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
{{- end -}}

{{/* A Job's pods cannot be changed: as a plain object, what does something else is another Job. */}}
{{- define "coturn.maker.jobName" -}}
{{- $name := include "coturn.maker.name" . -}}
{{- if not (include "coturn.maker.isHook" .) -}}
{{- $name = printf "%s-%s" (trunc 54 $name | trimSuffix "-") (include "coturn.maker.template" . | sha256sum | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "coturn.maker.template" -}}
metadata:
  labels: {{- include "coturn.labels.maker" . | nindent 4 }}
spec:
  serviceAccountName: {{ include "coturn.maker.name" . }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  restartPolicy: Never
  {{- with include "coturn.pod.pullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext: {{- include "coturn.pod.securityContext" (dict "root" . "user" 65532) | nindent 4 }}
  containers:
    - name: create
      image: {{ include "coturn.tool.image" . | quote }}
      imagePullPolicy: {{ .Values.tool.image.pullPolicy }}
      command: [/usr/local/bin/vdi-turn-secret]
      args:
        - create
        - --namespace={{ .Release.Namespace }}
        - --name={{ include "coturn.secret.name" . }}
      resources:
        requests:
          cpu: 10m
          memory: 32Mi
        limits:
          memory: 64Mi
      securityContext: {{- include "coturn.container.securityContext" dict | nindent 8 }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
