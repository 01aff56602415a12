{{/* What to do next and what to watch out for. */}}

{{- define "coturn.notes.warnings" -}}
{{- range .Values.imagePullSecrets }}
{{- if kindIs "string" . }}
WARNING: {{ include "coturn.valueName" (dict "root" $ "name" "imagePullSecrets") }} names Secrets by bare names: write {name: {{ . }}}; the next
release takes no others.
{{- end }}
{{- end }}
{{- $pod := include "coturn.pod.securityContext" (dict "root" . "user" 65534 "group" true) | fromYaml }}
{{- $container := include "coturn.pod.coturn.securityContext" . | fromYaml }}
{{- range $key, $found := dict "podSecurityContext" (include "coturn.loosened" (dict "context" $pod "pod" true)) "containerSecurityContext" (include "coturn.loosened" (dict "context" $container "adds" (list "NET_BIND_SERVICE") "grows" (include "coturn.bindsLowPort" .))) }}
{{- with fromJsonArray $found }}
WARNING: {{ include "coturn.valueName" (dict "root" $ "name" $key) }} makes the relay's pods less secure than they need be
({{ join ", " . }}): leave that out.
{{- end }}
{{- end }}
{{- if eq .Values.exposure "HostNetwork" }}
WARNING: the relay runs on the host network. Its namespace must admit privileged pods
(kubectl label namespace {{ .Release.Namespace }} pod-security.kubernetes.io/enforce=privileged), network policies do
not bind it, and a user of the relay can send UDP to any port of its node's own address:
let the node's firewall admit that user's packets (uid 65534) to the relay range only.
{{- end }}
{{- if and (eq .Values.exposure "HostNetwork") (include "coturn.metrics.on" .) }}
WARNING: the relay answers Prometheus on port {{ .Values.metrics.port }} of its node's address, in plain HTTP
and whoever asks: let the node's firewall admit your Prometheus alone.
{{- end }}
{{- if .Values.peers.allowed }}
WARNING: peers.allowed opens {{ join ", " .Values.peers.allowed }} to everybody with a desktop,
around all network policies.
{{- end }}
{{- if eq .Values.peers.reach "Public" }}
WARNING: peers.reach is Public: everybody with a desktop can send from the relay's address
to the internet.
{{- end }}
{{- end -}}
