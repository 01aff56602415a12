{{/* The hook makes the Secret before the relay starts, and again before upgrades
from a release that had none. Nothing of it stays, but the Secret. */}}

{{- define "coturn.maker.annotations" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
