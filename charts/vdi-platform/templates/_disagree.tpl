{{/* Values that say different things of one matter, because Helm lets no chart compute the
values of those below it: each message names both keys. */}}

{{- define "vdi-platform.disagree" -}}
{{- include "vdi-platform.disagree.certificate" . -}}
{{- include "vdi-platform.disagree.tool" . -}}
{{- include "vdi-platform.disagree.pools" . -}}
{{- if .Values.traefik.enabled -}}
{{- include "vdi-platform.disagree.acme" . -}}
{{- include "vdi-platform.disagree.hostNetwork" . -}}
{{- include "vdi-platform.disagree.dns" . -}}
{{- include "vdi-platform.disagree.pullSecrets" . -}}
{{- end -}}
{{- include "vdi-platform.disagree.gpuImages" . -}}
{{- end -}}

{{/* Other charts' objects cannot be left out one by one: they are made whole, or not at all. */}}
{{- define "vdi-platform.disagree.clusterObjects" -}}
{{- $mode := include "vdi-platform.clusterObjects" . -}}
{{- if ne $mode "Create" -}}
{{- range $name := list "traefik" "gpu-operator" -}}
{{- if (index $.Values $name).enabled -}}
{{- fail (printf "%s.enabled is on, but vdi-operator.clusterObjects is %s: that chart makes objects outside of the release namespace, so let an administrator install it in a release of its own, and switch it off here, as values/namespaced.yaml does" $name $mode) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.coturn.enabled (eq $mode "Only") -}}
{{- fail "coturn.enabled is on, but vdi-operator.clusterObjects is Only: the relay makes nothing outside of the release namespace, so render the administrator's file with coturn.enabled=false" -}}
{{- end -}}
{{- if and .Values.coturn.enabled (include "coturn.readsNode" .Subcharts.coturn) -}}
{{- fail "coturn.address.externalFrom is Node, but vdi-operator.clusterObjects is Leave: reading nodes takes a ClusterRole; name the address in coturn.address.external, or leave externalFrom at Pod" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vdi-platform.disagree.certificate" -}}
{{- $certificate := .Values.certificate | default dict -}}
{{- range $name := list "duration" "renewBefore" -}}
{{- $value := get $certificate $name | default "" | toString -}}
{{- if not (regexMatch "^([0-9]+[smh])*$" $value) -}}
{{- fail (printf "certificate.%s is %q, which is no duration of hours, minutes and seconds: write e.g. %s" $name $value (get (dict "duration" "2160h" "renewBefore" "360h") $name)) -}}
{{- end -}}
{{- end -}}
{{- if $certificate.enabled -}}
{{- if not $certificate.issuerRef.name -}}
{{- fail "certificate.issuerRef.name is required while certificate.enabled is on: the ClusterIssuer that asks for the certificate, e.g. letsencrypt-dns" -}}
{{- end -}}
{{- if not .Values.traefik.enabled -}}
{{- fail "certificate.enabled is on, but traefik.enabled is off: the certificate would lie where your own proxy does not look; make a Certificate in its namespace" -}}
{{- end -}}
{{- $shown := dig "default" "defaultCertificate" "secretName" "" (.Values.tlsStore | default dict) -}}
{{- if and $shown (ne $shown $certificate.secretName) -}}
{{- fail (printf "tlsStore.default.defaultCertificate.secretName is %q, but certificate.secretName is %q: leave the first out, or give both the same name" $shown $certificate.secretName) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The relay's tool is a program of the operator's image. */}}
{{- define "vdi-platform.disagree.tool" -}}
{{- $operator := index .Subcharts "vdi-operator" -}}
{{- $relay := .Subcharts.coturn -}}
{{- if and $operator $relay -}}
{{- $ours := include "vdi-operator.image" $operator -}}
{{- $tool := include "coturn.tool.image" $relay -}}
{{- if ne $ours $tool -}}
{{- fail (printf "coturn.tool.image gives %q, but vdi-operator.image gives %q: the tool is a program of that image, so give both the same" $tool $ours) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vdi-platform.disagree.pools" -}}
{{- $gpu := index .Values "gpu-operator" -}}
{{- if and $gpu.enabled (not $gpu.devicePlugin.config.create) -}}
{{- range dig "gpuSharing" "dedicated" list (index .Values "vdi-operator") -}}
{{- if hasKey ($.Values.gpuPools | default dict) . -}}
{{- fail (printf "gpuPools slices the pool %q, but vdi-operator.gpuSharing.dedicated keeps its GPUs whole: take it out of one of them" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $slices := int (.Values.slicesPerGPU | default 8) -}}
{{- if and $gpu.enabled (eq "false" (get (.Values.timeSlicing | default dict) "create" | toString)) -}}
{{- range $name, $set := dict "slicesPerGPU" (ne $slices 8) "gpuPools" .Values.gpuPools "gpu-operator.devicePlugin.config.data" (and (not $gpu.devicePlugin.config.create) $gpu.devicePlugin.config.data) -}}
{{- if $set -}}
{{- fail (printf "%s is set, but timeSlicing.create is off, so nothing is made of it: leave it out and change your own ConfigMap, or switch timeSlicing.create on" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $byDefault := "" -}}
{{- if $gpu.enabled }}{{ $byDefault = $gpu.devicePlugin.config.default }}{{ end -}}
{{- if and $byDefault (ne $slices 8) (hasKey ($gpu.devicePlugin.config.data | default dict) $byDefault) -}}
{{- fail (printf "slicesPerGPU is %d, but gpu-operator.devicePlugin.config.data.%s takes its place: leave one of them out" $slices $byDefault) -}}
{{- end -}}
{{- if and $byDefault (hasKey (.Values.gpuPools | default dict) $byDefault) -}}
{{- fail (printf "gpuPools.%s is the key of nodes without a label (gpu-operator.devicePlugin.config.default), which slicesPerGPU is for: set slicesPerGPU, and take it out" $byDefault) -}}
{{- end -}}
{{- if and $gpu.enabled $gpu.devicePlugin.config.create .Values.gpuPools -}}
{{- fail "gpuPools is set, but gpu-operator.devicePlugin.config.create lets another chart make the ConfigMap, of gpu-operator.devicePlugin.config.data alone: switch create off" -}}
{{- end -}}
{{- end -}}

{{/* Every pod of Traefik would ask for certificates of its own: its file of them cannot be shared. */}}
{{- define "vdi-platform.disagree.acme" -}}
{{- $traefik := .Values.traefik -}}
{{- $resolvers := keys ($traefik.certificatesResolvers | default dict) | sortAlpha -}}
{{- $replicas := int $traefik.deployment.replicas -}}
{{- if and $resolvers (gt $replicas 1) -}}
{{- fail (printf "traefik.certificatesResolvers holds %s, but traefik.deployment.replicas is %d: every pod would ask for certificates of its own, and answer challenges of others wrongly; set the replicas to 1, or leave the resolvers out and take certificate.enabled, by which cert-manager asks once" (join ", " $resolvers) $replicas) -}}
{{- end -}}
{{- if and $resolvers (dig "autoscaling" "enabled" false $traefik) -}}
{{- fail (printf "traefik.certificatesResolvers holds %s, but traefik.autoscaling.enabled is on: every pod would ask for certificates of its own; switch it off, or leave the resolvers out and take certificate.enabled" (join ", " $resolvers)) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-platform.disagree.hostNetwork" -}}
{{- $operator := index .Values "vdi-operator" -}}
{{- if and .Values.traefik.hostNetwork $operator.enabled (not (dig "sessions" "proxy" "ranges" list $operator)) -}}
{{- fail "traefik.hostNetwork is on, but vdi-operator.sessions.proxy.ranges is empty: no network policy knows a pod of the host network by its labels, so desktops would admit nobody; give the CIDRs of the proxy's nodes" -}}
{{- end -}}
{{- end -}}

{{/* A record that external-dns makes. Names of single hosts may be anybody's. */}}
{{- define "vdi-platform.disagree.dns" -}}
{{- $key := "external-dns.alpha.kubernetes.io/hostname" -}}
{{- $names := get (dig "service" "annotations" dict .Values.traefik) $key -}}
{{- $wildcard := printf "*.%s" (include "vdi-platform.domain" .) -}}
{{- $listed := list -}}
{{- range splitList "," ($names | default "" | nospace | lower) -}}
{{- if hasPrefix "*." . }}{{ $listed = append $listed (trimSuffix "." .) }}{{ end -}}
{{- end -}}
{{- if and $listed (index .Values "vdi-operator").enabled (not (has $wildcard $listed)) -}}
{{- fail (printf "traefik.service.annotations holds %s: %s, but global.domain makes hosts under %s: name that" $key $names $wildcard) -}}
{{- end -}}
{{- end -}}

{{/* Names of global.imagePullSecrets, as JSON. */}}
{{- define "vdi-platform.pullSecrets" -}}
{{- $names := list -}}
{{- range (.Values.global | default dict).imagePullSecrets -}}
{{- if kindIs "map" . }}{{ $names = append $names .name }}{{ else }}{{ $names = append $names . }}{{ end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* Traefik's image comes from global.imageRegistry (_registry.tpl), the Secrets for it do not. */}}
{{- define "vdi-platform.disagree.pullSecrets" -}}
{{- $theirs := list -}}
{{- range .Values.traefik.deployment.imagePullSecrets }}{{ $theirs = append $theirs .name }}{{ end -}}
{{- if (.Values.global | default dict).imageRegistry -}}
{{- range include "vdi-platform.pullSecrets" . | fromJsonArray -}}
{{- if not (has . $theirs) -}}
{{- fail (printf "global.imagePullSecrets holds %q, but traefik.deployment.imagePullSecrets does not, and Traefik is pulled from global.imageRegistry too: add {name: %s} to the second" . .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Images of the GPU Operator: all of them from global.imageRegistry, or none, which the notes
report. Half of them is a mistake. */}}
{{- define "vdi-platform.disagree.gpuImages" -}}
{{- $registry := (.Values.global | default dict).imageRegistry -}}
{{- $gpu := index .Subcharts "gpu-operator" -}}
{{- if and $registry $gpu -}}
{{- $all := include "vdi-platform.registry.keys" (dict "values" $gpu.Values "path" "gpu-operator") | fromJsonArray -}}
{{- $others := include "vdi-platform.registry.others" . | splitList "\n" | compact -}}
{{- if and $others (lt (len $others) (len $all)) -}}
{{- fail (printf "global.imageRegistry is %q, and some images of the GPU Operator come from there, but not those of %s: give all of them that registry, as values/air-gapped.yaml does" $registry (join ", " $others)) -}}
{{- end -}}
{{- if not $others -}}
{{- range $name := include "vdi-platform.pullSecrets" . | fromJsonArray -}}
{{- if not (has $name (dig "operator" "imagePullSecrets" list (index $.Values "gpu-operator"))) -}}
{{- fail (printf "global.imagePullSecrets holds %q, but gpu-operator.operator.imagePullSecrets does not, and the GPU Operator is pulled from global.imageRegistry too: add it there and to the other parts, as values/air-gapped.yaml does" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
