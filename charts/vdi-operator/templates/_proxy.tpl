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

{{/* Images of proxies that run, by what they are judged, as JSON: one look at their
pods. Empty without a cluster. Helm cannot go on where it may not look. */}}
{{- define "vdi-operator.proxy.images" -}}
{{- $images := dict -}}
{{- if .Values.sessions.proxy.checkVersion -}}
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
{{- $image := .image -}}
{{- $name := splitList "@" $image | first | splitList "/" | last -}}
{{- $tag := ternary (splitList ":" $name | last) "" (contains ":" $name) -}}
{{- with include "vdi-operator.proxy.judge" $tag -}}
{{- if regexMatch "(^|[-_])traefik(:|$)" $name -}}
{{- $_ := set $images . (append (get $images . | default list) $image) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $images | toJson -}}
{{- end -}}

{{- define "vdi-operator.proxy.hole" -}}
Strangers can act
there with the logins of others (CVE-2026-71324). Desktops and the front door do
not fall for it; other services behind it may. Update it to {{ include "vdi-operator.proxy.floor" . }} or newer.
{{- end -}}
