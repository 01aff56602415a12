{{/* How GPUs are shared, from values that need no format of the device plugin. */}}

{{- define "vdi-platform.sharing.whole" -}}
version: v1
flags:
  migStrategy: none
{{- end -}}

{{- define "vdi-platform.sharing.sliced" -}}
version: v1
flags:
  migStrategy: none
sharing:
  timeSlicing:
    renameByDefault: false
    failRequestsGreaterThanOne: false
    resources:
      - name: nvidia.com/gpu
        replicas: {{ . }}
{{- end -}}

{{/* "true" where this chart makes the ConfigMap. */}}
{{- define "vdi-platform.sharing.made" -}}
{{- $gpu := index .Values "gpu-operator" -}}
{{- if $gpu.enabled -}}
{{- if and $gpu.devicePlugin.config.name (not $gpu.devicePlugin.config.create) (ne "false" (get (.Values.timeSlicing | default dict) "create" | toString)) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* Configurations by key, as JSON: what the GPU Operator's own values hold goes first. */}}
{{- define "vdi-platform.sharing.data" -}}
{{- $config := (index .Values "gpu-operator").devicePlugin.config -}}
{{- $data := dict -}}
{{- if not $config.create -}}
{{- with $config.default }}{{ $_ := set $data . (include "vdi-platform.sharing.sliced" (int ($.Values.slicesPerGPU | default 8))) }}{{ end -}}
{{- range $pool, $slices := .Values.gpuPools }}{{ $_ := set $data $pool (include "vdi-platform.sharing.sliced" (int $slices)) }}{{ end -}}
{{- range dig "gpuSharing" "dedicated" list (index .Values "vdi-operator") }}{{ $_ := set $data . (include "vdi-platform.sharing.whole" $) }}{{ end -}}
{{- end -}}
{{- merge dict ($config.data | default dict) $data | toJson -}}
{{- end -}}

{{/* The GPU Operator's values, with the configurations that hold: for those who judge them.
create is true where they are known. */}}
{{- define "vdi-platform.sharing.judged" -}}
{{- $gpu := deepCopy (index .Values "gpu-operator") -}}
{{- if include "vdi-platform.sharing.made" . -}}
{{- $_ := set $gpu.devicePlugin.config "data" (include "vdi-platform.sharing.data" . | fromJson) -}}
{{- $_ := set $gpu.devicePlugin.config "create" true -}}
{{- end -}}
{{- toJson $gpu -}}
{{- end -}}
