{{/* One switch for the whole installation, and one for each part. */}}

{{- define "vdi-operator.monitoring" -}}
{{- dig "monitoring" dict (.Values.global | default dict) | default dict | toJson -}}
{{- end -}}

{{/* Whether a part is on: dict root part (serviceMonitor, prometheusRule or dashboard). */}}
{{- define "vdi-operator.monitors" -}}
{{- $all := include "vdi-operator.monitoring" .root | fromJson -}}
{{- if or $all.enabled (get .root.Values .part).enabled -}}true{{- end -}}
{{- end -}}

{{/* Labels by which Prometheus finds an object: dict root own part. */}}
{{- define "vdi-operator.monitoring.labels" -}}
{{- $all := include "vdi-operator.monitoring" .root | fromJson -}}
{{- merge dict (.own | fromYaml) (get .root.Values .part).labels ($all.labels | default dict) | toYaml -}}
{{- end -}}

{{/* Who may read metrics. */}}
{{- define "vdi-operator.monitoring.peers" -}}
{{- $peers := .Values.networkPolicy.metricsFrom | default list -}}
{{- with (include "vdi-operator.monitoring" . | fromJson).namespace -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .))) -}}
{{- end -}}
{{- $peers | uniq | toJson -}}
{{- end -}}
