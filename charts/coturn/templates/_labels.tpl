{{/* Labels of the relay's objects. */}}

{{/* The selector is immutable in a Deployment: never add to it. */}}
{{- define "coturn.labels.selector" -}}
app.kubernetes.io/name: {{ include "coturn.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Ours last, so that common labels cannot override them. */}}
{{- define "coturn.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "vdi-platform"
  "app.kubernetes.io/component" "relay" -}}
{{- $selector := include "coturn.labels.selector" . | fromYaml -}}
{{- toYaml (merge dict $selector $own .Values.commonLabels) -}}
{{- end -}}

{{/* Pods carry no chart version: a chart bump alone must not cut streams. */}}
{{- define "coturn.labels.pod" -}}
{{- $own := dict
  "app.kubernetes.io/part-of" "vdi-platform"
  "app.kubernetes.io/component" "relay" -}}
{{- $selector := include "coturn.labels.selector" . | fromYaml -}}
{{- toYaml (merge dict $selector $own .Values.podLabels .Values.commonLabels) -}}
{{- end -}}

{{/* The hook's pod must not be taken for a relay by any selector. */}}
{{- define "coturn.labels.maker" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "coturn.maker.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "vdi-platform"
  "app.kubernetes.io/component" "relay-secret" -}}
{{- toYaml (merge dict $own .Values.commonLabels) -}}
{{- end -}}
