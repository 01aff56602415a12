{{/* Which versions of the proxy are safe. tests/charts compares the floor with the
known vulnerabilities and with every other place that names it. */}}

{{- define "vdi-operator.proxy.floor" -}}
3.6.25 (of 3.6) or 3.7.11
{{- end -}}

{{/* "Old" for a tag below the floor, "Unknown" for one that is no whole version. */}}
{{- define "vdi-operator.proxy.judge" -}}
{{- $version := regexFind "^v?[0-9]+[.][0-9]+[.][0-9]+" . -}}
{{- if not $version -}}
Unknown
{{- else if or (semverCompare "<3.6.25" $version) (semverCompare ">=3.7.0, <3.7.11" $version) -}}
Old
{{- else if and (regexMatch "^v?[0-9.]+-(ea|alpha|beta|rc)" .) (has (trimPrefix "v" $version) (list "3.6.25" "3.7.11")) -}}
Old
{{- end -}}
{{- end -}}

{{/* Containers of proxies that run, as JSON: one look at their pods. Empty without a
cluster. Helm cannot go on where it may not look. */}}
{{- define "vdi-operator.proxy.containers" -}}
{{- $containers := list -}}
{{- if and .Values.sessions.proxy.checkVersion (include "vdi-operator.makesForCluster" .) -}}
{{- $labels := .Values.sessions.proxy.podLabels -}}
{{- range (lookup "v1" "Pod" (include "vdi-operator.proxy.namespace" .) "").items -}}
{{- $theirs := .metadata.labels | default dict -}}
{{- $runs := not (has (.status.phase | default "") (list "Succeeded" "Failed")) -}}
{{- range $key, $value := $labels -}}
{{- if ne (get $theirs $key) $value -}}
{{- $runs = false -}}
{{- end -}}
{{- end -}}
{{- range ternary .spec.containers list $runs -}}
{{- if regexMatch "(^|[-_])traefik(:|$)" (include "vdi-operator.proxy.imageName" .image) -}}
{{- $containers = append $containers (dict "image" .image "args" (concat (.command | default list) (.args | default list))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $containers | toJson -}}
{{- end -}}

{{/* The last part of an image's name, with its tag. */}}
{{- define "vdi-operator.proxy.imageName" -}}
{{- splitList "@" . | first | splitList "/" | last -}}
{{- end -}}

{{/* Images of proxies that run, by what they are judged, as JSON. */}}
{{- define "vdi-operator.proxy.images" -}}
{{- $images := dict -}}
{{- range include "vdi-operator.proxy.containers" . | fromJsonArray -}}
{{- $image := .image -}}
{{- $name := include "vdi-operator.proxy.imageName" $image -}}
{{- $tag := ternary (splitList ":" $name | last) "" (contains ":" $name) -}}
{{- with include "vdi-operator.proxy.judge" $tag -}}
{{- $_ := set $images . (append (get $images . | default list) $image) -}}
{{- end -}}
{{- end -}}
{{- $images | toJson -}}
{{- end -}}

{{/* What the proxy reads of other people's, as JSON, also where values of earlier releases
do not say it (helm upgrade --reuse-values). */}}
{{- define "vdi-operator.proxy.reads" -}}
{{- $reads := .Values.sessions.proxy.reads -}}
{{- if kindIs "invalid" $reads }}{{ $reads = list "IngressRoute" "Ingress" }}{{ end -}}
{{- toJson $reads -}}
{{- end -}}

{{/* What a proxy's arguments say about what others can do to the desktops behind it: a line
each. Flags are the same in any case, and a file or the environment instead is not seen. */}}
{{- define "vdi-operator.proxy.demands" -}}
{{- $reads := include "vdi-operator.proxy.reads" . | fromJsonArray -}}
{{- range include "vdi-operator.proxy.containers" . | fromJsonArray -}}
{{- $set := dict -}}
{{- range .args -}}
{{- $flag := regexFind "^--[^=]+" (toString .) | lower | trimPrefix "--" -}}
{{- if $flag }}{{ $_ := set $set $flag ((splitn "=" 2 (printf "%s=true" .))._1 | trimSuffix "=true") }}{{ end -}}
{{- end -}}
{{- $crd := dict -}}
{{- range $key := list "allowcrossnamespace" "allowexternalnameservices" "labelselector" "safenaming" "defaulttlsresourcesnamespace" -}}
{{- $_ := set $crd $key (get $set (printf "providers.kubernetescrd.%s" $key)) -}}
{{- end -}}
{{- $providers := list -}}
{{- range $flag, $value := $set -}}
{{- if and (hasPrefix "providers." $flag) (ne $value "false") }}{{ $providers = append $providers (index (splitList "." $flag) 1) }}{{ end -}}
{{- end -}}
{{- if not $providers }}
It is not known what the proxy reads: its arguments do not say, so look into its file or environment.
{{- end }}
{{- if eq $crd.allowcrossnamespace "true" }}
WARNING: the proxy runs with kubernetesCRD.allowCrossNamespace: routes lead into other namespaces.
{{- end }}
{{- if eq $crd.allowexternalnameservices "true" }}
WARNING: the proxy runs with kubernetesCRD.allowExternalNameServices: routes lead anywhere.
{{- end }}
{{- $everybodys := and (has "kubernetescrd" $providers) (ne $crd.labelselector "vdi.kasm.io/proxy=true") }}
{{- range $kind, $on := dict "IngressRoute" $everybodys "Ingress" (or (has "kubernetesingress" $providers) (has "kubernetesingressnginx" $providers)) "Gateway" (has "kubernetesgateway" $providers) }}
{{- if and $on (not (has $kind $reads)) }}
WARNING: the proxy reads what anybody writes of {{ $kind }}: add {{ $kind }} to sessions.proxy.reads, by which admission judges that.
{{- end }}
{{- end }}
{{- if and $everybodys (ne $crd.safenaming "true") }}
The proxy runs without kubernetesCRD.safeNaming (of 3.7.11 and newer): objects of namespaces called alike can be mistaken for each other.
{{- end }}
{{- if and $everybodys (not $crd.defaulttlsresourcesnamespace) }}
The proxy runs without kubernetesCRD.defaultTLSResourcesNamespace (of 3.7.11 and newer): what admission does not see can change TLS for all.
{{- end }}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.proxy.hole" -}}
Strangers can act
there with the logins of others (CVE-2026-71324). Desktops and the front door do
not fall for it; other services behind it may. Update it to {{ include "vdi-operator.proxy.floor" . }} or newer.
{{- end -}}
