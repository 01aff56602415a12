{{/* Labels of the operator's objects. */}}

{{/* The selector is immutable in a Deployment: never add to it. */}}
{{- define "vdi-operator.labels.selector" -}}
app.kubernetes.io/name: {{ include "vdi-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Ours last, so that common labels cannot override them. */}}
{{- define "vdi-operator.labels" -}}
{{- $own := dict
  "app" "vdi-operator"
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "vdi-platform"
  "app.kubernetes.io/component" "operator" -}}
{{- $selector := include "vdi-operator.labels.selector" . | fromYaml -}}
{{- toYaml (merge dict $selector $own .Values.commonLabels) -}}
{{- end -}}

{{/* Pods carry no chart version: a chart bump alone must not restart the operator. */}}
{{- define "vdi-operator.labels.pod" -}}
{{- $own := dict
  "app" "vdi-operator"
  "app.kubernetes.io/part-of" "vdi-platform"
  "app.kubernetes.io/component" "operator" -}}
{{- $selector := include "vdi-operator.labels.selector" . | fromYaml -}}
{{- toYaml (merge dict $selector $own .Values.podLabels .Values.commonLabels) -}}
{{- end -}}
