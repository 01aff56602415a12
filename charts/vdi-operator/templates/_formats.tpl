{{/* Values of a form: what has another fails here, in a sentence with an example, and not in
the schema, which has regular expressions alone. The operator judges them again, by its own
code (platform/validate.go). */}}

{{/* dict name value form (a regular expression; empty values pass) problem example */}}
{{- define "vdi-operator.require.form" -}}
{{- $value := .value | default "" | toString -}}
{{- if and $value (not (regexMatch (printf "^(%s)$" .form) $value)) -}}
{{- fail (printf "%s is %q, which %s: write e.g. %s" (include "vdi-operator.valueName" (dict "root" .root "name" .name)) $value .problem .example) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.formats" -}}
{{- $root := . -}}
{{- $label := "[a-z0-9]([a-z0-9-]*[a-z0-9])?" -}}
{{- $duration := "is no duration" -}}
{{- $global := .Values.global | default dict -}}
{{- $image := $global.operatorImage | default dict -}}
{{- $people := include "vdi-operator.access.people" . | fromJson -}}
{{- range list
  (list "global.domain" $global.domain (printf "%s([.]%s)+" $label $label) "is no DNS name in lower case without https:// and *." "vdi.example.com")
  (list "global.operatorImage.repository" $image.repository "([^@]*/)?[^/:@]+" "holds a tag or digest, for which there are global.operatorImage.tag and global.operatorImage.digest" "ghcr.io/vdi-platform/vdi-operator")
  (list "global.operatorImage.digest" $image.digest "sha256:[a-f0-9]{64}" "is no digest of 64 hexadecimal digits" "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
  (list "sessions.domain" .Values.sessions.domain (printf "%s([.]%s)+" $label $label) "is no DNS name in lower case without https:// and *." "vdi.example.com")
  (list "sessions.hostTemplate" .Values.sessions.hostTemplate "([a-z0-9-]|\\{(user|id|session|namespace)\\})+" "has more than lower-case letters, digits, -, {user}, {id}, {session} and {namespace}" "{user}-{id}")
  (list "sessions.hostTemplate" .Values.sessions.hostTemplate ".*\\{(user|id|session)\\}.*" "gives every session the same host" "{user}-{id}")
  (list "portal.label" (include "vdi-operator.portal.label" .) $label "is no DNS label of lower-case letters, digits and -" "portal")
  (list "portal.namespace" (include "vdi-operator.portal.namespace" .) $label "is no name of a namespace: lower-case letters, digits and -" "vdi-sessions")
  (list "access.local.secret.name" (get $people "name") (printf "%s([.]%s)*" $label $label) "is no name of a Secret" "vdi-people")
  (list "access.local.secret.key" (get $people "key") "[A-Za-z0-9._-]+" "is no key of a Secret" "people.yaml")
  (list "access.oidc.issuerURL" (dig "oidc" "issuerURL" "" .Values.access) "https://[^\\s]+" "is no https address" "https://login.example.com/realms/vdi")
  (list "frontDoor.loginLifetime" .Values.frontDoor.loginLifetime "([0-9]+(s|m|h))+" $duration "8h")
  (list "serviceMonitor.interval" .Values.serviceMonitor.interval "([0-9]+(ms|s|m|h))+" $duration "30s")
  (list "serviceMonitor.scrapeTimeout" .Values.serviceMonitor.scrapeTimeout "([0-9]+(ms|s|m|h))+" $duration "10s")
  (list "prometheusRule.stuckAfter" .Values.prometheusRule.stuckAfter "([0-9]+(s|m|h|d))+" $duration "30m")
  (list "hooks.deadline" (include "vdi-operator.hook.deadlineText" .) "[1-9][0-9]{0,4}[smh]" "is no duration of one unit" "5m")
  (list "hooks.deadline" (include "vdi-operator.hook.deadlineText" .) "([2-9][0-9]|[1-9][0-9]{2,})s|[0-9]+[mh]" "leaves a Job no time" "5m")
  (list "image.repository" .Values.image.repository "([^@]*/)?[^/:@]+" "holds a tag or digest, for which there are image.tag and image.digest" "ghcr.io/vdi-platform/vdi-operator")
  (list "image.digest" .Values.image.digest "sha256:[a-f0-9]{64}" "is no digest of 64 hexadecimal digits" "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08") -}}
{{- include "vdi-operator.require.form" (dict "root" $root "name" (index . 0) "value" (index . 1) "form" (index . 2) "problem" (index . 3) "example" (index . 4)) -}}
{{- end -}}
{{- include "vdi-operator.require.registry" . -}}
{{- include "vdi-operator.require.pullSecrets" . -}}
{{- include "vdi-operator.require.ranges" . -}}
{{- include "vdi-operator.require.egress" . -}}
{{- end -}}

{{- define "vdi-operator.require.registry" -}}
{{- $path := "(/[a-z0-9]+([._-]+[a-z0-9]+)*)*" -}}
{{- $registry := (.Values.global | default dict).imageRegistry | default "" -}}
{{- if and $registry (not (regexMatch (printf "^((localhost|[a-zA-Z0-9-]+([.][a-zA-Z0-9-]+)+)(:[0-9]+)?%s|[a-zA-Z0-9-]+:[0-9]+%s)$" $path $path) $registry)) -}}
{{- fail (printf "global.imageRegistry is %q, which is no registry with a path in lower case, without https:// and a / at its end: write e.g. registry.example.com/vdi" $registry) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.pullSecrets" -}}
{{- $lists := dict "global.imagePullSecrets" (.Values.global | default dict).imagePullSecrets "imagePullSecrets" .Values.imagePullSecrets "sessions.images.pullSecrets" .Values.sessions.images.pullSecrets -}}
{{- range $name, $secrets := $lists -}}
{{- range $i, $secret := $secrets -}}
{{- if kindIs "map" $secret }}{{ $secret = get $secret "name" }}{{ end -}}
{{- if not $secret -}}
{{- fail (printf "%s[%d] names no Secret: write e.g. {name: registry}" (include "vdi-operator.valueName" (dict "root" $ "name" $name)) $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.ranges" -}}
{{- $root := . -}}
{{- $network := .Values.sessions.network -}}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])" -}}
{{- $form := printf "%s([.]%s){3}/(3[0-2]|[12]?[0-9])|[0-9a-fA-F.:]*:[0-9a-fA-F.:]*/(12[0-8]|1[01][0-9]|[1-9]?[0-9])" $byte $byte -}}
{{- range list
  (list "sessions.network.deniedRanges" $network.deniedRanges) (list "sessions.network.allowedRanges" $network.allowedRanges)
  (list "sessions.network.dnsRanges" $network.dnsRanges) (list "sessions.turn.ranges" .Values.sessions.turn.ranges) (list "sessions.proxy.ranges" (get .Values.sessions.proxy "ranges" | default list)) -}}
{{- $name := first . -}}
{{- range $i, $range := last . -}}
{{- include "vdi-operator.require.form" (dict "root" $root "name" (printf "%s[%d]" $name $i) "value" $range "form" $form "problem" "is no range of addresses in CIDR notation" "example" "10.0.0.0/8 or 192.0.2.7/32") -}}
{{- if and (eq $name "sessions.proxy.ranges") (hasSuffix "/0" $range) -}}
{{- fail (printf "%s[%d] is %q, which admits everybody: give the ranges of the proxy's nodes or of the load balancer alone" (include "vdi-operator.valueName" (dict "root" $root "name" $name)) $i $range) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.egress" -}}
{{- $root := . -}}
{{- range $key := list "httpProxy" "httpsProxy" -}}
{{- $name := printf "sessions.egress.%s" $key -}}
{{- $proxy := get $root.Values.sessions.egress $key -}}
{{- if regexMatch "^([^/]*//)?[^/?#]*@" ($proxy | default "") -}}
{{- fail (printf "%s holds a login, which everybody who sees a desktop's pod could read: use a proxy that needs none, e.g. http://proxy.example.com:3128" (include "vdi-operator.valueName" (dict "root" $root "name" $name))) -}}
{{- end -}}
{{- include "vdi-operator.require.form" (dict "root" $root "name" $name "value" $proxy "form" "(?i:https?)://[^\\s/]+(/\\S*)?" "problem" "is no address of a proxy with http:// or https://" "example" "http://proxy.example.com:3128") -}}
{{- end -}}
{{- end -}}
