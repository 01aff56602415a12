{{/* Names of this chart's objects, each defined once. */}}

{{- define "vdi-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name leads, unless it already says what this is. */}}
{{- define "vdi-operator.fullname" -}}
{{- $name := include "vdi-operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.serviceAccount.name" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "vdi-operator.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.config.name" -}}
{{- printf "%s-config" (include "vdi-operator.fullname" . | trunc 56 | trimSuffix "-") -}}
{{- end -}}

{{/* Cluster-wide objects carry the namespace, so that two releases of the same
name in different namespaces do not fight over them. */}}
{{- define "vdi-operator.clusterRole.name" -}}
{{- printf "%s:%s" .Release.Namespace (include "vdi-operator.fullname" .) -}}
{{- end -}}

{{- define "vdi-operator.clusterRole.catalogueName" -}}
{{- printf "%s:catalogue" (include "vdi-operator.clusterRole.name" .) -}}
{{- end -}}

{{/* The rights in all namespaces have one name per cluster: a second operator for
all namespaces would fight the first over every session. */}}
{{- define "vdi-operator.clusterRole.sessionsName" -}}
vdi-operator:sessions
{{- end -}}

{{/* The operator's leader election ID, fixed in operator/cmd/vdi-operator. */}}
{{- define "vdi-operator.lease.name" -}}
vdi-operator
{{- end -}}

{{/* Role and binding in a session namespace: one name, because one operator serves
it (see _require.tpl). */}}
{{- define "vdi-operator.sessionRole.name" -}}
vdi-operator-sessions
{{- end -}}

{{/* What looks after the GPUs: Role, ClusterRole and bindings. */}}
{{- define "vdi-operator.gpuSharing.roleName" -}}
{{- printf "%s-%s-gpu-sharing" .Release.Namespace (include "vdi-operator.fullname" .) | trunc 253 -}}
{{- end -}}

{{- define "vdi-operator.gpuSharing.clusterRoleName" -}}
{{- printf "%s:gpu-sharing" (include "vdi-operator.clusterRole.name" .) -}}
{{- end -}}

{{- define "vdi-operator.gpuSharing.namespace" -}}
{{- .Values.gpuSharing.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* An image's name in global.imageRegistry, which replaces the host and leaves alone what
lies there already. A first part without a dot or colon is no host (distribution/reference). */}}
{{- define "vdi-operator.registry.name" -}}
{{- $registry := (.root.Values.global | default dict).imageRegistry -}}
{{- if or (not $registry) (hasPrefix (printf "%s/" $registry) .name) -}}
{{- .name -}}
{{- else -}}
{{- printf "%s/%s" $registry (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" .name "") -}}
{{- end -}}
{{- end -}}

{{/* What global.operatorImage says of tag or digest stands alone: an old digest of the chart's own
would win over a new tag. */}}
{{- define "vdi-operator.image" -}}
{{- $all := dig "operatorImage" dict (.Values.global | default dict) | default dict -}}
{{- $image := .Values.image -}}
{{- if or $all.repository $all.tag $all.digest -}}
{{- $image = dict "repository" ($all.repository | default $image.repository) "tag" $all.tag "digest" $all.digest -}}
{{- end -}}
{{- $repository := include "vdi-operator.registry.name" (dict "root" . "name" $image.repository) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The relay's settings, as JSON: global.turn stands for it and for desktops alike. */}}
{{- define "vdi-operator.turn" -}}
{{- $all := dig "turn" dict (.Values.global | default dict) | default dict -}}
{{- $turn := deepCopy .Values.sessions.turn -}}
{{- range $key := list "host" "port" "tlsPort" -}}
{{- with get $all $key }}{{ $_ := set $turn $key . }}{{ end -}}
{{- end -}}
{{- toJson $turn -}}
{{- end -}}

{{/* Under which sessions get their hosts: a value of its own, or the whole installation's. */}}
{{- define "vdi-operator.domain" -}}
{{- .Values.sessions.domain | default (.Values.global | default dict).domain -}}
{{- end -}}

{{- define "vdi-operator.proxy.namespace" -}}
{{- .Values.sessions.proxy.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "vdi-operator.proxy.address" -}}
{{- printf "%s.%s.svc:%d" .Values.sessions.proxy.service (include "vdi-operator.proxy.namespace" .) (int .Values.sessions.proxy.port) -}}
{{- end -}}

{{/* A value's full name as the user must write it: prefixed below an umbrella. */}}
{{- define "vdi-operator.valueName" -}}
{{- $prefix := ternary "" (printf "%s." .root.Chart.Name) (or .root.Chart.IsRoot (hasPrefix "global." .name)) -}}
{{- print $prefix .name -}}
{{- end -}}
