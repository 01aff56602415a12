{{/* How people show who they are, by access.mode: names of it, and what cannot work. */}}

{{/* Whether the front door logs people in: the proxy asks it before every request then, and
desktops believe its signed statements. */}}
{{- define "vdi-operator.access.logsIn" -}}
{{- if has .Values.access.mode (list "OIDC" "Local") -}}true{{- end -}}
{{- end -}}

{{- define "vdi-operator.access.isLocal" -}}
{{- if eq .Values.access.mode "Local" -}}true{{- end -}}
{{- end -}}

{{/* The Secret of people, as JSON: name and key. */}}
{{- define "vdi-operator.access.people" -}}
{{- $secret := dig "local" "secret" dict .Values.access | default dict -}}{{/* helm upgrade --reuse-values knows no new defaults */ -}}
{{- dict "name" ($secret.name | default "vdi-people") "key" ($secret.key | default "people.yaml") | toJson -}}
{{- end -}}

{{- define "vdi-operator.portal.label" -}}
{{- get (.Values.portal | default dict) "label" | default "portal" -}}{{/* helm upgrade --reuse-values knows no new defaults */ -}}
{{- end -}}

{{/* Where people make desktops, or empty. */}}
{{- define "vdi-operator.portal.namespace" -}}
{{- get (.Values.portal | default dict) "namespace" | default "" -}}
{{- end -}}

{{- define "vdi-operator.portal.host" -}}
{{- printf "%s.%s" (include "vdi-operator.portal.label" .) (include "vdi-operator.domain" .) -}}
{{- end -}}

{{/* Where people log in. */}}
{{- define "vdi-operator.access.loginHost" -}}
{{- if include "vdi-operator.access.isLocal" . -}}
{{- include "vdi-operator.portal.host" . -}}
{{- else -}}
{{- printf "auth.%s" (include "vdi-operator.domain" .) -}}
{{- end -}}
{{- end -}}

{{/* Half a login lets nobody in, or everybody; a setting of another mode would be ignored in
silence. */}}
{{- define "vdi-operator.require.access" -}}
{{- if eq .Values.access.mode "OIDC" -}}
{{- include "vdi-operator.require.oidc" . -}}
{{- else -}}
{{- include "vdi-operator.require.noOIDC" . -}}
{{- end -}}
{{- if include "vdi-operator.access.isLocal" . -}}
{{- include "vdi-operator.require.local" . -}}
{{- else -}}
{{- include "vdi-operator.require.noLocal" . -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.oidc" -}}
{{- $oidc := .Values.access.oidc -}}
{{- range list
  (list "issuerURL" $oidc.issuerURL "the URL of your identity provider, e.g. https://login.example.com/realms/vdi")
  (list "clientID" $oidc.clientID "the client registered with your identity provider")
  (list "clientSecret.name" $oidc.clientSecret.name "the Secret in the release namespace that holds the client's secret")
  (list "clientSecret.key" $oidc.clientSecret.key "the key in that Secret")
  (list "userClaim" $oidc.userClaim "the claim that equals a session's spec.user, e.g. email") -}}
{{- if not (index . 1) -}}
{{- fail (printf "%s is required when access.mode is OIDC: %s" (include "vdi-operator.valueName" (dict "root" $ "name" (printf "access.oidc.%s" (first .)))) (last .)) -}}
{{- end -}}
{{- end -}}
{{- if not (has "openid" $oidc.scopes) -}}
{{- fail (printf "%s lacks openid: without it the identity provider names nobody" (include "vdi-operator.valueName" (dict "root" . "name" "access.oidc.scopes"))) -}}
{{- end -}}
{{- end -}}

{{/* In mode Password the rest is ignored as ever: releases are installed with it. */}}
{{- define "vdi-operator.require.noOIDC" -}}
{{- $oidc := .Values.access.oidc -}}
{{- if $oidc -}}{{/* null, from whoever leaves it out with --reset-then-reuse-values */ -}}
{{- $set := list (list "issuerURL" $oidc.issuerURL) (list "clientID" $oidc.clientID) (list "clientSecret.name" $oidc.clientSecret.name) -}}
{{- if include "vdi-operator.access.isLocal" . -}}
{{- $set = concat $set (list
  (list "clientSecret.key" (ne $oidc.clientSecret.key "client-secret")) (list "userClaim" (ne $oidc.userClaim "email"))
  (list "groupsClaim" (dig "groupsClaim" "" $oidc)) (list "onlyGroups" (dig "onlyGroups" list $oidc))
  (list "scopes" (ne (join " " $oidc.scopes) "openid email profile")) (list "caBundle.configMap" $oidc.caBundle.configMap)) -}}
{{- end -}}
{{- range $set -}}
{{- if last . -}}
{{- fail (printf "%s is set, but access.mode is %s, which ignores it: set access.mode to OIDC, or leave access.oidc out" (include "vdi-operator.valueName" (dict "root" $ "name" (printf "access.oidc.%s" (first .)))) $.Values.access.mode) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the portal makes lives where this release serves and sessions may start. */}}
{{- define "vdi-operator.require.portal" -}}
{{- $namespace := include "vdi-operator.portal.namespace" . -}}
{{- $name := include "vdi-operator.valueName" (dict "root" . "name" "portal.namespace") -}}
{{- if $namespace -}}
{{- if not (include "vdi-operator.access.logsIn" .) -}}
{{- fail (printf "%s is %q, but access.mode is %s, which ignores it: set access.mode to OIDC or Local, or leave it out" $name $namespace .Values.access.mode) -}}
{{- end -}}
{{- if has $namespace (include "vdi-operator.admission.closed" . | fromJsonArray) -}}
{{- fail (printf "%s is %q, which is the cluster's or the platform's, and no session may start there: name a namespace for sessions, e.g. vdi-sessions" $name $namespace) -}}
{{- end -}}
{{- if and .Values.watchNamespaces (not (has $namespace .Values.watchNamespaces)) -}}
{{- fail (printf "%s is %q, but watchNamespaces does not hold it, so that no desktop would start there: name one of %s, or add it to the list" $name $namespace (join ", " .Values.watchNamespaces)) -}}
{{- end -}}
{{- if and (include "vdi-operator.makesForCluster" .) (lookup "v1" "Namespace" "" "kube-system") -}}
{{- include "vdi-operator.require.portalNamespace" . -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What only a cluster can say: Helm would say less of a Role in a namespace that is not there, and
people would be the first to read that no desktop may be made. */}}
{{- define "vdi-operator.require.portalNamespace" -}}
{{- $namespace := include "vdi-operator.portal.namespace" . -}}
{{- $name := include "vdi-operator.valueName" (dict "root" . "name" "portal.namespace") -}}
{{- $found := lookup "v1" "Namespace" "" $namespace -}}
{{- if not $found -}}
{{- fail (printf "%s is %q, a namespace that does not exist: make it with `kubectl create namespace %s` and `kubectl label namespace %s pod-security.kubernetes.io/enforce=restricted vdi.kasm.io/sessions=true` first, or leave the value empty" $name $namespace $namespace $namespace) -}}
{{- end -}}
{{- if and (include "vdi-operator.admission.labelRequired" .) (ne (dig "metadata" "labels" "vdi.kasm.io/sessions" "" $found) "true") -}}
{{- fail (printf "%s is %q, a namespace without the label of those for sessions, and no desktop may be made there (admission.namespaceLabel): label it with `kubectl label namespace %s vdi.kasm.io/sessions=true` first, or leave the value empty" $name $namespace $namespace) -}}
{{- end -}}
{{- end -}}

{{/* auth is the host of every mode, which leads to the portal here. */}}
{{- define "vdi-operator.require.local" -}}
{{- if eq (include "vdi-operator.portal.label" .) "auth" -}}
{{- fail (printf "%s is \"auth\", but auth.%s is a host of the front door already, which leads people to the portal: choose another label, e.g. portal" (include "vdi-operator.valueName" (dict "root" . "name" "portal.label")) (include "vdi-operator.domain" .)) -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.require.noLocal" -}}
{{- $people := include "vdi-operator.access.people" . | fromJson -}}
{{- range list
  (list "access.local.secret.name" $people.name "vdi-people" "access.local")
  (list "access.local.secret.key" $people.key "people.yaml" "access.local")
  (list "portal.label" (include "vdi-operator.portal.label" .) "portal" "it") -}}
{{- if ne (index . 1) (index . 2) -}}
{{- fail (printf "%s is %q, but access.mode is %s, which ignores it: set access.mode to Local, or leave %s out" (include "vdi-operator.valueName" (dict "root" $ "name" (first .))) (index . 1) $.Values.access.mode (last .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
