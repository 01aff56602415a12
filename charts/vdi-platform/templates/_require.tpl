{{/* Combinations of the parts' values that cannot work. Each message names the
value and the remedy. Single values are judged by the parts themselves. */}}

{{- define "vdi-platform.require" -}}
{{- $operator := index .Values "vdi-operator" -}}
{{- $in := dict "root" . "operator" $operator "traefik" .Values.traefik -}}
{{- include "vdi-platform.disagree.clusterObjects" . -}}
{{- if and (not $operator.enabled) (not .Values.traefik.enabled) -}}
{{- fail "vdi-operator.enabled and traefik.enabled are both off: nothing is left to install" -}}
{{- end -}}
{{- if and $operator.enabled .Values.traefik.enabled -}}
{{- include "vdi-platform.require.sameProxy" $in -}}
{{- include "vdi-platform.require.certResolver" $in -}}
{{- include "vdi-platform.require.sameNamespaces" $in -}}
{{- else if $operator.enabled -}}
{{- include "vdi-platform.require.ownProxy" $in -}}
{{- end -}}
{{- if .Values.traefik.enabled -}}
{{- include "vdi-platform.require.traefik" $in -}}
{{- end -}}
{{- if and $operator.enabled .Values.coturn.enabled -}}
{{- include "vdi-platform.require.sameRelay" (dict "turn" (include "vdi-operator.turn" (index .Subcharts "vdi-operator") | fromJson) "coturn" (merge (dict "ports" (include "coturn.ports" .Subcharts.coturn | fromJson)) .Values.coturn)) -}}
{{- include "vdi-platform.require.sameHooks" $in -}}
{{- end -}}
{{- $gpus := dict "root" . "sharing" ($operator.gpuSharing | default dict) "gpu" (include "vdi-platform.sharing.judged" . | fromJson) -}}
{{- include "vdi-platform.require.privileged" (dict "root" . "gpu" $gpus.gpu) -}}
{{- if $gpus.gpu.enabled -}}
{{- include "vdi-platform.require.onlyGPUOperator" . -}}
{{- include "vdi-platform.require.sharingConfig" $gpus -}}
{{- include "vdi-platform.require.ownSharing" . -}}
{{- end -}}
{{- if and $operator.enabled $gpus.sharing.enabled -}}
{{- include (ternary "vdi-platform.require.sameGPUs" "vdi-platform.require.ownGPUs" $gpus.gpu.enabled) $gpus -}}
{{- end -}}
{{- include "vdi-platform.disagree" . -}}
{{- end -}}

{{/* One writer, one configuration: the operator verifies what the GPU Operator's
values made. */}}
{{- define "vdi-platform.require.sameGPUs" -}}
{{- $config := .gpu.devicePlugin.config -}}
{{- if .sharing.managePolicy -}}
{{- fail "gpu-operator.enabled and vdi-operator.gpuSharing.managePolicy are both on: two would write the same configuration; set gpu-operator.devicePlugin.config.data and switch managePolicy off, or switch gpu-operator.enabled off to use your own GPU Operator" -}}
{{- end -}}
{{- if not (has .sharing.namespace (list "" .root.Release.Namespace)) -}}
{{- fail (printf "vdi-operator.gpuSharing.namespace is %q, but gpu-operator.enabled puts the GPU Operator into %q: leave it empty, or switch gpu-operator.enabled off to use your own" .sharing.namespace .root.Release.Namespace) -}}
{{- end -}}
{{- include "vdi-platform.require.dedicated" . -}}
{{- if ne .sharing.configMap $config.name -}}
{{- fail (printf "vdi-operator.gpuSharing.configMap is %q, but gpu-operator.devicePlugin.config.name is %q: give both the same name, or switch vdi-operator.gpuSharing.enabled off" .sharing.configMap $config.name) -}}
{{- end -}}
{{- if ne .sharing.default $config.default -}}
{{- fail (printf "vdi-operator.gpuSharing.default is %q, but gpu-operator.devicePlugin.config.default is %q: give both the same key" .sharing.default $config.default) -}}
{{- end -}}
{{- end -}}

{{/* More than one GPU per desktop is for nodes that keep theirs whole. */}}
{{- define "vdi-platform.require.dedicated" -}}
{{- $data := .gpu.devicePlugin.config.data | default dict -}}
{{- range $key := ternary .sharing.dedicated list (.gpu.devicePlugin.config.create | default false) -}}
{{- if not (hasKey $data $key) -}}
{{- fail (printf "vdi-operator.gpuSharing.dedicated holds %q, but gpu-operator.devicePlugin.config.data does not: add the configuration, or take the key out" $key) -}}
{{- end -}}
{{- if (get $data $key | fromYaml).sharing -}}
{{- fail (printf "vdi-operator.gpuSharing.dedicated holds %q, but gpu-operator.devicePlugin.config.data.%s shares GPUs: leave its sharing section out, or take the key out" $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vdi-platform.require.ownGPUs" -}}
{{- if not .sharing.namespace -}}
{{- fail "vdi-operator.gpuSharing.namespace is required while gpu-operator.enabled is off: say where your own GPU Operator runs, see values/bring-your-own.yaml, or switch vdi-operator.gpuSharing.enabled off" -}}
{{- end -}}
{{- end -}}

{{- define "vdi-platform.require.sharingConfig" -}}
{{- $config := .gpu.devicePlugin.config -}}
{{- if and $config.create $config.default (not (hasKey ($config.data | default dict) $config.default)) -}}
{{- fail (printf "gpu-operator.devicePlugin.config.default is %q, but gpu-operator.devicePlugin.config.data does not hold it: every GPU node would lose its GPUs" $config.default) -}}
{{- end -}}
{{- range $key, $text := $config.data -}}
{{- $file := $text | toString | fromYaml -}}
{{- if or (hasKey $file "Error") (ne ($file.version | default "") "v1") -}}
{{- fail (printf "gpu-operator.devicePlugin.config.data.%s is no configuration of the device plugin: it must be YAML text that begins with version: v1" $key) -}}
{{- end -}}
{{- range $resource := (($file.sharing | default dict).timeSlicing | default dict).resources -}}
{{- if lt (int $resource.replicas) 2 -}}
{{- fail (printf "gpu-operator.devicePlugin.config.data.%s gives %s %d replicas, which the device plugin refuses: write 2 or more slices, or leave the sharing section out for whole GPUs" $key $resource.name (int $resource.replicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A ConfigMap of somebody else would be written over. Rendered without a cluster nothing is found. */}}
{{- define "vdi-platform.require.ownSharing" -}}
{{- if include "vdi-platform.sharing.made" . -}}
{{- $name := (index .Values "gpu-operator").devicePlugin.config.name -}}
{{- $there := lookup "v1" "ConfigMap" .Release.Namespace $name -}}
{{- $owner := dig "metadata" "annotations" dict $there | default dict -}}
{{- if and $there (or (ne (get $owner "meta.helm.sh/release-name") .Release.Name) (ne (get $owner "meta.helm.sh/release-namespace") .Release.Namespace)) -}}
{{- fail (printf "a ConfigMap %s is in namespace %s already and is not of this release: set timeSlicing.create=false to keep it as it is, or delete it and set slicesPerGPU and gpuPools" $name .Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The operator's proxy must be the one this release installs. */}}
{{- define "vdi-platform.require.sameProxy" -}}
{{- $proxy := .operator.sessions.proxy -}}
{{- if ne $proxy.service .traefik.fullnameOverride -}}
{{- fail (printf "vdi-operator.sessions.proxy.service is %q, but traefik.fullnameOverride names the proxy %q: give both the same name, or switch traefik.enabled off to use your own proxy" $proxy.service .traefik.fullnameOverride) -}}
{{- end -}}
{{- if not (has $proxy.namespace (list "" .root.Release.Namespace)) -}}
{{- fail (printf "vdi-operator.sessions.proxy.namespace is %q, but traefik.enabled puts the proxy into %q: leave it empty, or switch traefik.enabled off to use your own proxy" $proxy.namespace .root.Release.Namespace) -}}
{{- end -}}
{{- if ne (int $proxy.port) (int .traefik.ports.websecure.exposedPort) -}}
{{- fail (printf "vdi-operator.sessions.proxy.port is %d, but traefik.ports.websecure.exposedPort is %d: give both the same port" (int $proxy.port) (int .traefik.ports.websecure.exposedPort)) -}}
{{- end -}}
{{- end -}}

{{/* One tool applies both parts. */}}
{{- define "vdi-platform.require.sameHooks" -}}
{{- $ours := get (.operator.hooks | default dict) "enabled" | toString | ne "false" -}}
{{- $theirs := get (.root.Values.coturn.hooks | default dict) "enabled" | toString | ne "false" -}}
{{- if ne $ours $theirs -}}
{{- fail (printf "vdi-operator.hooks.enabled is %t, but coturn.hooks.enabled is %t: give both the same value" $ours $theirs) -}}
{{- end -}}
{{- end -}}

{{/* Desktops must be sent to the relay this release installs. */}}
{{- define "vdi-platform.require.sameRelay" -}}
{{- $turn := .turn -}}
{{- $secret := .coturn.secret.existingSecret | default (printf "%s-secret" .coturn.fullnameOverride) -}}
{{- if not $turn.host -}}
{{- fail (printf "vdi-operator.sessions.turn.host is required while coturn.enabled is on: the name or address by which browsers and desktops reach the relay, e.g. %s" (.coturn.realm | default "turn.vdi.example.com")) -}}
{{- end -}}
{{- if ne $turn.secretName $secret -}}
{{- fail (printf "vdi-operator.sessions.turn.secretName is %q, but the relay's shared secret is %q: give both the same name" $turn.secretName $secret) -}}
{{- end -}}
{{- if ne (int $turn.port) (int .coturn.ports.turn) -}}
{{- fail (printf "vdi-operator.sessions.turn.port is %d, but coturn.ports.turn is %d: give both the same port" (int $turn.port) (int .coturn.ports.turn)) -}}
{{- end -}}
{{- if and $turn.tlsPort (not .coturn.tls.enabled) -}}
{{- fail "vdi-operator.sessions.turn.tlsPort is set, but coturn.tls.enabled is off: switch it on, or set the port to 0" -}}
{{- end -}}
{{- if and $turn.tlsPort (ne (int $turn.tlsPort) (int .coturn.ports.tls)) -}}
{{- fail (printf "vdi-operator.sessions.turn.tlsPort is %d, but coturn.ports.tls is %d: give both the same port" (int $turn.tlsPort) (int .coturn.ports.tls)) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-platform.require.ownProxy" -}}
{{- if not .operator.sessions.proxy.namespace -}}
{{- fail "vdi-operator.sessions.proxy.namespace is required while traefik.enabled is off: say where your own Traefik runs (namespace, service, port and podLabels), see values/bring-your-own.yaml" -}}
{{- end -}}
{{- end -}}

{{- define "vdi-platform.require.certResolver" -}}
{{- $tls := .operator.sessions.tls | default dict -}}
{{- $resolvers := .traefik.certificatesResolvers | default dict -}}
{{- if and (eq ($tls.mode | default "Wildcard") "CertResolver") (not (hasKey $resolvers $tls.certResolver)) -}}
{{- fail (printf "vdi-operator.sessions.tls.certResolver is %q, but traefik.certificatesResolvers does not hold it: define it there, or use sessions.tls.mode Wildcard" $tls.certResolver) -}}
{{- end -}}
{{- end -}}

{{/* Helm would name a ClusterRole. Rendered without a cluster nothing is found. */}}
{{- define "vdi-platform.require.onlyGPUOperator" -}}
{{- $role := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "gpu-operator" -}}
{{- if $role -}}
{{- $owner := $role.metadata.annotations | default dict -}}
{{- $release := get $owner "meta.helm.sh/release-name" -}}
{{- $namespace := get $owner "meta.helm.sh/release-namespace" -}}
{{- if or (ne $release .Release.Name) (ne $namespace .Release.Namespace) -}}
{{- fail (printf "gpu-operator.enabled is on, but a GPU Operator runs in this cluster already (release %q in namespace %q): set gpu-operator.enabled=false and vdi-operator.gpuSharing.namespace=%s, see values/bring-your-own.yaml" $release $namespace ($namespace | default "gpu-operator")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Drivers and the relay's host network need what Pod Security would refuse, pod by pod, after
the install. */}}
{{- define "vdi-platform.require.privileged" -}}
{{- $relay := and .root.Values.coturn.enabled (eq (.root.Values.coturn.exposure | default "HostNetwork") "HostNetwork") -}}
{{- $parts := list -}}
{{- if .gpu.enabled }}{{ $parts = append $parts "gpu-operator.enabled" }}{{ end -}}
{{- if $relay }}{{ $parts = append $parts "coturn.enabled" }}{{ end -}}
{{- if and $parts (ne "Leave" (include "vdi-platform.clusterObjects" .root)) -}}{{/* whoever leaves them may look nowhere else */ -}}
{{- $namespace := lookup "v1" "Namespace" "" .root.Release.Namespace -}}
{{- $level := dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "privileged" $namespace -}}
{{- if ne $level "privileged" -}}
{{- fail (printf "%s makes privileged pods, but namespace %s enforces Pod Security %s: kubectl label namespace %s pod-security.kubernetes.io/enforce=privileged --overwrite, or switch it off" (join " and " $parts) .root.Release.Namespace $level .root.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A proxy that looks at fewer namespaces than the operator would leave
sessions without a route. */}}
{{- define "vdi-platform.require.sameNamespaces" -}}
{{- $served := .traefik.providers.kubernetesCRD.namespaces | default list -}}
{{- $watched := .operator.watchNamespaces | default list -}}
{{- if and $served (not $watched) -}}
{{- fail "traefik.providers.kubernetesCRD.namespaces limits the proxy, but vdi-operator.watchNamespaces does not limit the operator: give both the same namespaces" -}}
{{- end -}}
{{- range $namespace := $watched -}}
{{- if and $served (not (has $namespace $served)) -}}
{{- fail (printf "vdi-operator.watchNamespaces holds %q, which traefik.providers.kubernetesCRD.namespaces leaves out: its sessions would never be reachable" $namespace) -}}
{{- end -}}
{{- end -}}
{{- $release := .root.Release.Namespace -}}
{{- if and $served (not (has $release $served)) -}}
{{- fail (printf "traefik.providers.kubernetesCRD.namespaces leaves out the release namespace %q: the front door's routes there would not count, so add it" $release) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-platform.require.traefik" -}}
{{- $crd := .traefik.providers.kubernetesCRD -}}
{{- if not $crd.enabled -}}
{{- fail "traefik.providers.kubernetesCRD.enabled is off: sessions are IngressRoutes, so switch it on, or switch traefik.enabled off to use your own proxy" -}}
{{- end -}}
{{- if not .traefik.ports.websecure.http.tls.enabled -}}
{{- fail "traefik.ports.websecure.http.tls.enabled is off: sessions are never served without TLS" -}}
{{- end -}}
{{- $certificate := (include "vdi-platform.proxy.stores" .root | fromJson | default .traefik.tlsStore | default dict).default | default dict -}}
{{- if and $certificate.defaultCertificate $certificate.defaultGeneratedCert -}}
{{- fail "tlsStore.default has both defaultCertificate and defaultGeneratedCert: keep one, or it is left to Traefik which certificate desktops show" -}}
{{- end -}}
{{- with $crd.defaultTLSResourcesNamespace -}}
{{- if and (not (has . (list $.root.Release.Namespace "$(POD_NAMESPACE)"))) $certificate -}}
{{- fail (printf "traefik.providers.kubernetesCRD.defaultTLSResourcesNamespace is %q, but tlsStore.default lies in the release namespace %q, where Traefik would not look: leave it out" . $.root.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- include "vdi-platform.require.tlsObjects" . -}}
{{- include "vdi-platform.require.registry" . -}}
{{- include "vdi-platform.require.reads" . -}}
{{- end -}}

{{/* Traefik's chart labels nothing that it makes but with its pods: the proxy would not read
it, and show a certificate of its own. */}}
{{- define "vdi-platform.require.tlsObjects" -}}
{{- $selector := .traefik.providers.kubernetesCRD.labelSelector -}}
{{- range $key := list "tlsStore" "tlsOptions" -}}
{{- $theirs := get $.traefik $key | default dict -}}
{{- if and $theirs $selector -}}
{{- fail (printf "traefik.%s is set, but with traefik.providers.kubernetesCRD.labelSelector the proxy does not read what Traefik's chart makes of it: move it up to %s, without traefik before it" $key $key) -}}
{{- end -}}
{{- range $name, $_ := get $.root.Values $key -}}
{{- if hasKey $theirs $name -}}
{{- fail (printf "%s.%s and traefik.%s.%s are the same object: keep the first" $key $name $key $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $route := .traefik.ingressRoute | default dict -}}
{{- if and (kindIs "map" $route) $route.enabled $selector (ne "true" (get ($route.labels | default dict) "vdi.kasm.io/proxy" | toString)) -}}
{{- fail (printf "traefik.ingressRoute.%s.enabled is on, but with traefik.providers.kubernetesCRD.labelSelector the proxy does not read that route: add vdi.kasm.io/proxy: \"true\" to traefik.ingressRoute.%s.labels" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (.traefik.commonLabels | default dict) "vdi.kasm.io/proxy" -}}
{{- fail "traefik.commonLabels holds vdi.kasm.io/proxy, which would be on pods too, where admission refuses it: take it out; tlsStore and tlsOptions have it already" -}}
{{- end -}}
{{- end -}}

{{/* Whose objects the proxy believes, admission must know. */}}
{{- define "vdi-platform.require.reads" -}}
{{- if .operator.enabled -}}
{{- $providers := .traefik.providers -}}
{{- $foreign := dict -}}
{{- if ne ($providers.kubernetesCRD.labelSelector | default "") (include "vdi-platform.proxy.selector" .) }}{{ $_ := set $foreign "IngressRoute" "kubernetesCRD.labelSelector" }}{{ end -}}
{{- if ($providers.kubernetesIngress | default dict).enabled }}{{ $_ := set $foreign "Ingress" "kubernetesIngress.enabled" }}{{ end -}}
{{- if ($providers.kubernetesIngressNGINX | default dict).enabled }}{{ $_ := set $foreign "Ingress" "kubernetesIngressNGINX.enabled" }}{{ end -}}
{{- if ($providers.kubernetesGateway | default dict).enabled }}{{ $_ := set $foreign "Gateway" "kubernetesGateway.enabled" }}{{ end -}}
{{- range $kind, $key := $foreign -}}
{{- if not (has $kind ($.operator.sessions.proxy.reads | default list)) -}}
{{- fail (printf "traefik.providers.%s lets the proxy read what anybody writes: add %s to vdi-operator.sessions.proxy.reads, by which admission judges that, or set it back" $key $kind) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The proxy's image comes from where all others do. The second question is to the proxy's
chart itself: a version of it that no longer asks _registry.tpl is noticed. */}}
{{- define "vdi-platform.require.registry" -}}
{{- $registry := (.root.Values.global | default dict).imageRegistry -}}
{{- $theirs := .traefik.image.registry | default "docker.io" -}}
{{- if and $registry (not (has $theirs (list "docker.io" $registry))) -}}
{{- fail (printf "traefik.image.registry is %q, but global.imageRegistry is %q: leave the first out, or give both the same registry" $theirs $registry) -}}
{{- end -}}
{{- $image := include "traefik.image-name" .root.Subcharts.traefik -}}
{{- if and $registry (not (hasPrefix (printf "%s/" $registry) $image)) -}}
{{- fail (printf "global.imageRegistry is %q, but the chart of Traefik takes the image %s: name the registry in the chart's own values" $registry $image) -}}
{{- end -}}
{{- end -}}
