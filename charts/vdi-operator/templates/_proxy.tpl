{{/* Which versions of the proxy are safe. tests/charts compares the floor with the
known vulnerabilities and with every other place that names it. */}}

{{- define "vdi-operator.proxy.floor" -}}
3.6.25 (of 3.6) or 3.7.11
{{- end -}}

{{/* "true" for the name of an image, or a tag, of Traefik below the floor. A tag that
is no whole version says nothing. */}}
{{- define "vdi-operator.proxy.isOld" -}}
{{- $tag := splitList "@" . | first | splitList "/" | last | splitList ":" | last -}}
{{- $version := regexFind "^v?[0-9]+[.][0-9]+[.][0-9]+" $tag -}}
{{- if and $version (or (semverCompare "<3.6.25" $version) (semverCompare ">=3.7.0, <3.7.11" $version)) -}}
true
{{- end -}}
{{- end -}}

{{/* Images of proxies that run and are too old, for people. Empty without a cluster. */}}
{{- define "vdi-operator.proxy.oldImages" -}}
{{- $labels := .Values.sessions.proxy.podLabels -}}
{{- $images := list -}}
{{- range (lookup "v1" "Pod" (include "vdi-operator.proxy.namespace" .) "").items -}}
{{- $theirs := .metadata.labels | default dict -}}
{{- $is := not (has (.status.phase | default "") (list "Succeeded" "Failed")) -}}
{{- range $key, $value := $labels -}}
{{- if ne (get $theirs $key) $value -}}
{{- $is = false -}}
{{- end -}}
{{- end -}}
{{- range ternary .spec.containers list $is -}}
{{- if and (contains "traefik" .image) (include "vdi-operator.proxy.isOld" .image) -}}
{{- $images = append $images .image -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $images | uniq | sortAlpha | join ", " -}}
{{- end -}}

{{- define "vdi-operator.proxy.hole" -}}
Strangers can act
there with the logins of others (CVE-2026-71324). Desktops and the front door do
not fall for it; other services behind it may. Update it to {{ include "vdi-operator.proxy.floor" . }} or newer.
{{- end -}}
