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

{{/* A Job's pods cannot be changed: as a plain object, with other values it is another Job. */}}
{{- define "coturn.maker.jobName" -}}
{{- $name := include "coturn.maker.name" . -}}
{{- if not (include "coturn.maker.isHook" .) -}}
{{- $name = printf "%s-%s" (trunc 54 $name | trimSuffix "-") (list .Chart.Version .Values | toJson | sha256sum | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}
