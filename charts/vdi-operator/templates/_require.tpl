{{/* Values that cannot work fail here, with the value's name and the remedy. */}}

{{- define "vdi-operator.require" -}}
{{- include "vdi-operator.require.domain" . -}}
{{- include "vdi-operator.require.tls" . -}}
{{- include "vdi-operator.require.namespaces" . -}}
{{- include "vdi-operator.require.leader" . -}}
{{- include "vdi-operator.require.ports" . -}}
{{- include "vdi-operator.require.overlay" . -}}
{{- end -}}

{{- define "vdi-operator.require.domain" -}}
{{- if not .Values.sessions.domain -}}
{{- fail (printf "%s is required: the DNS domain under which every session gets a host, e.g. vdi.example.com" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.domain"))) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.tls" -}}
{{- $tls := .Values.sessions.tls -}}
{{- if and (eq $tls.mode "Secret") (not $tls.secretName) -}}
{{- fail (printf "%s is required in mode Secret: the name of the TLS Secret in every session namespace, or use mode Wildcard" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.tls.secretName"))) -}}
{{- end -}}
{{- if and (eq $tls.mode "CertResolver") (not $tls.certResolver) -}}
{{- fail (printf "%s is required in mode CertResolver: the name of the proxy's certificate resolver, e.g. letsencrypt" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.tls.certResolver"))) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.namespaces" -}}
{{- if has .Release.Namespace .Values.watchNamespaces -}}
{{- fail (printf "%s must not hold the release namespace %s: sessions live in namespaces of their own, so that tenants cannot reach the platform's parts" (include "vdi-operator.valueName" (dict "root" . "name" "watchNamespaces")) .Release.Namespace) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.leader" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) -}}
{{- fail (printf "%s is off with %d replicas: two operators would work at once; switch it on or set replicas to 1" (include "vdi-operator.valueName" (dict "root" . "name" "leaderElection.enabled")) (int .Values.replicas)) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.ports" -}}
{{- if eq (int .Values.metrics.port) (int .Values.health.port) -}}
{{- fail (printf "%s and health.port are both %d: give the probes a port of their own" (include "vdi-operator.valueName" (dict "root" . "name" "metrics.port")) (int .Values.health.port)) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.overlay" -}}
{{- range $i, $step := .Values.sessions.overlay -}}
{{- $unknown := omit $step "kind" "merge" "jsonPatch" -}}
{{- if or $unknown (not $step.kind) (eq (empty $step.merge) (empty $step.jsonPatch)) -}}
{{- fail (printf "%s[%d] needs a kind and either merge or jsonPatch, and nothing else" (include "vdi-operator.valueName" (dict "root" $ "name" "sessions.overlay")) $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* GitOps tools render without a cluster: they pass the API to helm template
with --api-versions. */}}
{{- define "vdi-operator.require.serviceMonitorCRD" -}}
{{- if not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor") -}}
{{- fail (printf "%s is on, but this cluster does not know ServiceMonitor (monitoring.coreos.com/v1): install the Prometheus Operator first, or switch it off; when rendering without a cluster add --api-versions monitoring.coreos.com/v1/ServiceMonitor" (include "vdi-operator.valueName" (dict "root" . "name" "serviceMonitor.enabled"))) -}}
{{- end -}}
{{- end -}}
