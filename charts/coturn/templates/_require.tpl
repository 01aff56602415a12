{{/* Values that cannot work fail here, with the value's name and the remedy. */}}

{{- define "coturn.require" -}}
{{- include "coturn.require.realm" . -}}
{{- include "coturn.require.formats" . -}}
{{- include "coturn.require.pullSecrets" . -}}
{{- include "coturn.require.range" . -}}
{{- include "coturn.require.ports" . -}}
{{- include "coturn.require.service" . -}}
{{- include "coturn.require.peers" . -}}
{{- include "coturn.require.tls" . -}}
{{- include "coturn.require.arguments" . -}}
{{- end -}}

{{- define "coturn.require.realm" -}}
{{- if not .Values.realm -}}
{{- fail (printf "%s is required: the relay's name in its challenges, e.g. turn.vdi.example.com" (include "coturn.valueName" (dict "root" . "name" "realm"))) -}}
{{- end -}}
{{- end -}}

{{/* In the schema, these would be regular expressions without a sentence. */}}
{{- define "coturn.require.formats" -}}
{{- $root := . -}}
{{- $addresses := "[0-9a-fA-F.:]+(,[0-9a-fA-F.:]+)*" -}}
{{- $path := "(/[a-z0-9]+([._-]+[a-z0-9]+)*)*" -}}
{{- $digest := "sha256:[a-f0-9]{64}" -}}
{{- $image := (.Values.global | default dict).operatorImage | default dict -}}
{{- range list
  (list "realm" .Values.realm "[a-zA-Z0-9.-]+" "is no DNS name" "turn.vdi.example.com")
  (list "address.listen" .Values.address.listen $addresses "is no list of addresses" "192.0.2.7,2001:db8::7")
  (list "address.external" .Values.address.external $addresses "is no list of addresses" "192.0.2.7,2001:db8::7")
  (list "global.operatorImage.repository" $image.repository "([^@]*/)?[^/:@]+" "holds a tag or digest, for which there are global.operatorImage.tag and global.operatorImage.digest" "ghcr.io/vdi-platform/vdi-operator")
  (list "global.operatorImage.digest" $image.digest $digest "is no digest of 64 hexadecimal digits" "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
  (list "image.digest" .Values.image.digest $digest "is no digest of 64 hexadecimal digits" "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
  (list "tool.image.digest" .Values.tool.image.digest $digest "is no digest of 64 hexadecimal digits" "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
  (list "serviceMonitor.interval" .Values.serviceMonitor.interval "([0-9]+(ms|s|m|h))+" "is no duration" "30s")
  (list "global.imageRegistry" (.Values.global | default dict).imageRegistry (printf "(localhost|[a-zA-Z0-9-]+([.][a-zA-Z0-9-]+)+)(:[0-9]+)?%s|[a-zA-Z0-9-]+:[0-9]+%s" $path $path) "is no registry with a path in lower case, without https:// and a / at its end" "registry.example.com/vdi") -}}
{{- $value := index . 1 | default "" | toString -}}
{{- if and $value (not (regexMatch (printf "^(%s)$" (index . 2)) $value)) -}}
{{- $name := ternary (first .) (include "coturn.valueName" (dict "root" $root "name" (first .))) (hasPrefix "global." (first .)) -}}
{{- fail (printf "%s is %q, which %s: write e.g. %s" $name $value (index . 3) (index . 4)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "coturn.require.pullSecrets" -}}
{{- $lists := dict "global.imagePullSecrets" (.Values.global | default dict).imagePullSecrets (include "coturn.valueName" (dict "root" . "name" "imagePullSecrets")) .Values.imagePullSecrets -}}
{{- range $name, $secrets := $lists -}}
{{- range $i, $secret := $secrets -}}
{{- if kindIs "map" $secret }}{{ $secret = get $secret "name" }}{{ end -}}
{{- if not $secret -}}
{{- fail (printf "%s[%d] names no Secret: write e.g. {name: registry}" $name $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "coturn.require.range" -}}
{{- $ports := include "coturn.ports" . | fromJson -}}
{{- if lt (int $ports.relayMax) (int $ports.relayMin) -}}
{{- fail (printf "%s is %d, above ports.relayMax, which is %d: give the relay a range" (include "coturn.valueName" (dict "root" . "name" "ports.relayMin")) (int $ports.relayMin) (int $ports.relayMax)) -}}
{{- end -}}
{{- range $name, $port := dict "ports.turn" $ports.turn "ports.tls" $ports.tls "metrics.port" $.Values.metrics.port -}}
{{- if and (ge (int $port) (int $ports.relayMin)) (le (int $port) (int $ports.relayMax)) -}}
{{- fail (printf "%s is %d, inside the relay range %d to %d: a relayed stream could take it" (include "coturn.valueName" (dict "root" $ "name" $name)) (int $port) (int $ports.relayMin) (int $ports.relayMax)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "coturn.require.ports" -}}
{{- $used := list (int (include "coturn.ports" . | fromJson).turn) -}}
{{- if .Values.tls.enabled -}}{{- $used = append $used (int (include "coturn.ports" . | fromJson).tls) -}}{{- end -}}
{{- if include "coturn.metrics.on" . -}}{{- $used = append $used (int .Values.metrics.port) -}}{{- end -}}
{{- if ne (len $used) (len (uniq $used)) -}}
{{- fail (printf "%s, ports.tls and metrics.port must differ: they are %s" (include "coturn.valueName" (dict "root" . "name" "ports.turn")) (join ", " $used)) -}}
{{- end -}}
{{- end -}}

{{- define "coturn.require.service" -}}
{{- if eq .Values.exposure "Service" -}}
{{- $size := add1 (sub (int .Values.ports.relayMax) (int .Values.ports.relayMin)) -}}
{{- if gt (int $size) 200 -}}
{{- fail (printf "%s is Service with %d relay ports: a Service carries one entry per port, so set ports.relayMin and ports.relayMax to at most 200 ports, or use HostNetwork" (include "coturn.valueName" (dict "root" . "name" "exposure")) (int $size)) -}}
{{- end -}}
{{- if or (gt (int .Values.replicas) 1) (eq .Values.kind "DaemonSet") -}}
{{- fail (printf "%s is Service with more than one relay: packets for one would reach another; use a single one, one release per relay, or HostNetwork" (include "coturn.valueName" (dict "root" . "name" "exposure"))) -}}
{{- end -}}
{{- if not .Values.address.external -}}
{{- fail (printf "%s is required with exposure Service: the address of the load balancer, which the relay tells its users" (include "coturn.valueName" (dict "root" . "name" "address.external"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Old versions take a malformed range for none at all. */}}
{{- define "coturn.require.peers" -}}
{{- range concat .Values.peers.denied .Values.peers.allowed -}}
{{- if or (hasPrefix "::-" .) (eq "::" .) (not (regexMatch "^[0-9a-fA-F.:]+(-[0-9a-fA-F.:]+)?$" .)) -}}
{{- fail (printf "%s and peers.allowed take FIRST-LAST or one address, and no range may start at ::, which coturn takes for every address: %q" (include "coturn.valueName" (dict "root" $ "name" "peers.denied")) .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "coturn.require.tls" -}}
{{- if and .Values.tls.enabled (not .Values.tls.secretName) -}}
{{- fail (printf "%s is required while tls.enabled is on: a TLS Secret of the release namespace" (include "coturn.valueName" (dict "root" . "name" "tls.secretName"))) -}}
{{- end -}}
{{- end -}}

{{/* Flags beat coturn's file, whose keys have their names: the values would say one thing, and
coturn do another. */}}
{{- define "coturn.require.arguments" -}}
{{- $ours := list "listening-ip" "relay-ip" "external-ip" "static-auth-secret" -}}
{{- range concat (include "coturn.pod.args" . | fromYamlArray) (include "coturn.config" . | splitList "\n") -}}
{{- $ours = append $ours (regexFind "^[^=]+" . | trimAll "-") -}}
{{- end -}}
{{- range $i, $argument := .Values.extraArgs | default list -}}
{{- if has (regexFind "^--?[^=]+" $argument | trimAll "-") $ours -}}
{{- fail (printf "%s[%d] is %q, which the chart sets already: set the value that it comes from, or leave it out" (include "coturn.valueName" (dict "root" $ "name" "extraArgs")) $i $argument) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* GitOps tools render without a cluster: they pass the API to helm template
with --api-versions. */}}
{{- define "coturn.require.crd" -}}
{{- $api := "monitoring.coreos.com/v1" -}}
{{- if not (include "coturn.knows" (dict "root" .root "api" $api "kind" .kind)) -}}
{{- fail (printf "%s is on, but this cluster does not know %s (monitoring.coreos.com/v1): install the Prometheus Operator first, or switch it off; when rendering without a cluster add --api-versions %s" (include "coturn.valueName" .) .kind $api) -}}
{{- end -}}
{{- end -}}
