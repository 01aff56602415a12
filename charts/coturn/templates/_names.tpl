{{/* Names of this chart's objects, each defined once. */}}

{{- define "coturn.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name leads, unless it already says what this is. */}}
{{- define "coturn.fullname" -}}
{{- $name := include "coturn.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "coturn.shortname" -}}
{{- include "coturn.fullname" . | trunc 55 | trimSuffix "-" -}}
{{- end -}}

{{- define "coturn.config.name" -}}
{{- printf "%s-config" (include "coturn.shortname" .) -}}
{{- end -}}

{{/* "true" where Prometheus is answered: on request, which a monitor or a rule is, too. */}}
{{- define "coturn.metrics.on" -}}
{{- if or .Values.metrics.enabled .Values.serviceMonitor.enabled .Values.prometheusRule.enabled (include "coturn.monitoring" . | fromJson).enabled -}}true{{- end -}}
{{- end -}}

{{- define "coturn.metrics.name" -}}
{{- printf "%s-metrics" (include "coturn.shortname" .) -}}
{{- end -}}

{{/* The hook that makes the Secret, and its rights. */}}
{{- define "coturn.maker.name" -}}
{{- printf "%s-maker" (include "coturn.shortname" .) -}}
{{- end -}}

{{- define "coturn.secret.name" -}}
{{- .Values.secret.existingSecret | default (printf "%s-secret" (include "coturn.shortname" .)) -}}
{{- end -}}

{{/* Cluster-wide objects carry the namespace, so that two releases of the same
name in different namespaces do not fight over them. */}}
{{- define "coturn.clusterRole.name" -}}
{{- printf "%s:%s" .Release.Namespace (include "coturn.fullname" .) -}}
{{- end -}}

{{/* An image's name in global.imageRegistry, which replaces the host and leaves alone what
lies there already. A first part without a dot or colon is no host (distribution/reference). */}}
{{- define "coturn.registry.name" -}}
{{- $registry := (.root.Values.global | default dict).imageRegistry -}}
{{- if or (not $registry) (hasPrefix (printf "%s/" $registry) .name) -}}
{{- .name -}}
{{- else -}}
{{- printf "%s/%s" $registry (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" .name "") -}}
{{- end -}}
{{- end -}}

{{- define "coturn.image" -}}
{{- $repository := include "coturn.registry.name" (dict "root" . "name" .Values.image.repository) -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What global.operatorImage says of tag or digest stands alone: an old digest of the chart's own
would win over a new tag. */}}
{{- define "coturn.tool.image" -}}
{{- $all := dig "operatorImage" dict (.Values.global | default dict) | default dict -}}
{{- $image := .Values.tool.image -}}
{{- if or $all.repository $all.tag $all.digest -}}
{{- $image = dict "repository" ($all.repository | default $image.repository) "tag" $all.tag "digest" $all.digest -}}
{{- end -}}
{{- $repository := include "coturn.registry.name" (dict "root" . "name" $image.repository) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default .Chart.Version) -}}
{{- end -}}
{{- end -}}

{{/* A value's full name as the user must write it: prefixed below an umbrella. */}}
{{- define "coturn.valueName" -}}
{{- $prefix := ternary "" (printf "%s." .root.Chart.Name) .root.Chart.IsRoot -}}
{{- print $prefix .name -}}
{{- end -}}
