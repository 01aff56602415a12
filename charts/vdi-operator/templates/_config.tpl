{{/* The operator's configuration file: platform.Config, key by key. Empty values
are left out, so that the operator's own defaults hold. */}}

{{- define "vdi-operator.config.files" -}}
config.yaml: |
  {{- include "vdi-operator.config" . | nindent 2 }}
{{- with .Values.templates }}
# For the Jobs that apply and check them; the operator does not read it.
templates.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "vdi-operator.config" -}}
{{- $s := .Values.sessions -}}
{{- $sessions := dict
  "domain" (include "vdi-operator.domain" .)
  "hostTemplate" $s.hostTemplate
  "externalPort" (int $s.externalPort)
  "tls" (include "vdi-operator.config.tls" . | fromYaml)
  "verifyRoute" $s.verifyRoute
  "agent" (dict "image" (include "vdi-operator.image" .))
  "operator" (dict
    "namespace" .Release.Namespace
    "podLabels" (include "vdi-operator.labels.selector" . | fromYaml))
  "proxy" (dict
    "address" (include "vdi-operator.proxy.address" .)
    "namespace" (include "vdi-operator.proxy.namespace" .)
    "podLabels" $s.proxy.podLabels)
  "network" (include "vdi-operator.config.network" . | fromYaml) -}}
{{- if include "vdi-operator.access.isLocal" . }}{{ $_ := set $sessions "portalLabel" (include "vdi-operator.portal.label" .) }}{{ end -}}
{{- with $s.proxy.ranges }}{{ $_ := set $sessions.proxy "ranges" . }}{{ end -}}
{{- range $key := list "labels" "annotations" "values" "overlay" -}}
{{- with get $s $key }}{{ $_ := set $sessions $key . }}{{ end -}}
{{- end -}}
{{- with include "vdi-operator.config.allowed" . | fromYaml }}{{ $_ := set $sessions "allowed" . }}{{ end -}}
{{- with include "vdi-operator.config.turn" . | fromYaml }}{{ $_ := set $sessions "turn" . }}{{ end -}}
{{- with include "vdi-operator.config.images" . | fromYaml }}{{ $_ := set $sessions "images" . }}{{ end -}}
{{- with include "vdi-operator.config.egress" . | fromYaml }}{{ $_ := set $sessions "egress" . }}{{ end -}}
{{- with include "vdi-operator.config.slices" . | fromYaml }}{{ $_ := set $sessions "gpuSharing" . }}{{ end -}}
{{- $config := dict "sessions" $sessions "access" (include "vdi-operator.config.access" . | fromYaml) -}}
{{- if .Values.encoder.readNodes }}{{ $_ := set $config "encoder" (dict "readNodes" true) }}{{ end -}}
{{- if .Values.admission.enabled }}{{ $_ := set $config "admission" (dict "enabled" true) }}{{ end -}}
{{- with .Values.queue }}{{ $_ := set $config "queue" . }}{{ end -}}
{{- with .Values.accounting }}{{ $_ := set $config "accounting" . }}{{ end -}}
{{- if .Values.gpuSharing.enabled }}{{ $_ := set $config "gpuSharing" (include "vdi-operator.config.gpuSharing" . | fromYaml) }}{{ end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Where GPUs are shared, a GPU is a slice unless the values say otherwise. */}}
{{- define "vdi-operator.config.slices" -}}
{{- $sharing := .Values.gpuSharing -}}
{{- $sliced := $sharing.sliced -}}
{{- if and $sharing.enabled (not $sliced) -}}
{{- $sliced = list "nvidia.com/gpu" -}}
{{- end -}}
{{- $dedicated := $sharing.dedicated -}}
{{- range $key, $config := $sharing.configs -}}
{{- if eq (int $config.replicas) 1 }}{{ $dedicated = append $dedicated $key }}{{ end -}}
{{- end -}}
{{- $out := dict -}}
{{- with $sliced }}{{ $_ := set $out "sliced" . }}{{ end -}}
{{- with $dedicated }}{{ $_ := set $out "dedicated" . }}{{ end -}}
{{- if $out }}{{ toYaml $out }}{{ end -}}
{{- end -}}

{{- define "vdi-operator.config.gpuSharing" -}}
{{- $sharing := .Values.gpuSharing -}}
{{- $out := dict
  "enabled" true
  "namespace" (include "vdi-operator.gpuSharing.namespace" .)
  "configMap" $sharing.configMap
  "default" $sharing.default -}}
{{- with $sharing.policy }}{{ $_ := set $out "policy" . }}{{ end -}}
{{- if $sharing.managePolicy }}{{ $_ := set $out "managePolicy" true }}{{ end -}}
{{- with $sharing.configs }}{{ $_ := set $out "configs" . }}{{ end -}}
{{- toYaml $out -}}
{{- end -}}

{{- define "vdi-operator.config.access" -}}
{{- $oidc := .Values.access.oidc -}}
mode: {{ .Values.access.mode }}
{{- if include "vdi-operator.access.logsIn" . }}
forwardAuth: {{ include "vdi-operator.frontDoor.forwardAuth" . }}
{{- end }}
{{- if eq .Values.access.mode "OIDC" }}
oidc:
  issuerURL: {{ $oidc.issuerURL | quote }}
  clientID: {{ $oidc.clientID | quote }}
  userClaim: {{ $oidc.userClaim | quote }}
  groupsClaim: {{ dig "groupsClaim" "" $oidc | quote }}
  {{- with dig "onlyGroups" list $oidc }}
  onlyGroups: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "vdi-operator.config.tls" -}}
{{- $tls := .Values.sessions.tls -}}
mode: {{ $tls.mode }}
{{- if eq $tls.mode "CertResolver" }}
certResolver: {{ $tls.certResolver | quote }}
{{- else if eq $tls.mode "Secret" }}
secretName: {{ $tls.secretName | quote }}
{{- end }}
{{- end -}}

{{- define "vdi-operator.config.network" -}}
{{- $network := .Values.sessions.network -}}
{{- $out := dict "internet" $network.internet "dnsNamespace" $network.dnsNamespace -}}
{{- range $key := list "deniedRanges" "openRanges" "allowedRanges" "dnsRanges" "dnsPorts" -}}
{{- with get $network $key }}{{ $_ := set $out $key . }}{{ end -}}
{{- end -}}
{{- toYaml $out -}}
{{- end -}}

{{- define "vdi-operator.config.allowed" -}}
{{- $out := dict -}}
{{- range $key := list "secrets" "configMaps" "annotations" "entryPoints" -}}
{{- with get ($.Values.sessions.allowed | default dict) $key }}{{ $_ := set $out $key . }}{{ end -}}
{{- end -}}
{{- if $out }}{{ toYaml $out }}{{ end -}}
{{- end -}}

{{- define "vdi-operator.config.turn" -}}
{{- $turn := include "vdi-operator.turn" . | fromJson -}}
{{- if $turn.host -}}
host: {{ $turn.host | quote }}
port: {{ int $turn.port }}
transports: {{ toJson $turn.transports }}
{{- if $turn.tlsPort }}
tlsPort: {{ int $turn.tlsPort }}
{{- end }}
{{- with $turn.ranges }}
ranges: {{ toJson . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* The registry stands for itself too: it may lie on a host that is replaced. */}}
{{- define "vdi-operator.config.images" -}}
{{- $images := .Values.sessions.images -}}
{{- $rewrite := dict -}}
{{- with (.Values.global | default dict).imageRegistry -}}
{{- range $host := list "docker.io" "ghcr.io" "nvcr.io" "quay.io" "registry.k8s.io" . -}}
{{- $_ := set $rewrite $host $.Values.global.imageRegistry -}}
{{- end -}}
{{- end -}}
{{- $out := dict -}}
{{- with merge (dict) ($images.rewrite | default dict) $rewrite }}{{ $_ := set $out "rewrite" . }}{{ end -}}
{{- with include "vdi-operator.pullSecrets" (dict "root" . "own" $images.pullSecrets) | fromJsonArray }}{{ $_ := set $out "pullSecrets" . }}{{ end -}}
{{- toYaml $out -}}
{{- end -}}

{{- define "vdi-operator.config.egress" -}}
{{- $egress := .Values.sessions.egress -}}
{{- $out := dict -}}
{{- range $key := list "httpProxy" "httpsProxy" "noProxy" -}}
{{- with get $egress $key }}{{ $_ := set $out $key . }}{{ end -}}
{{- end -}}
{{- if $egress.caBundle.configMap }}{{ $_ := set $out "caBundle" $egress.caBundle }}{{ end -}}
{{- if $out }}{{ toYaml $out }}{{ end -}}
{{- end -}}
