{{/* What to do next and what to watch out for. The umbrella's notes use these
too: Helm prints no subchart's NOTES.txt. */}}

{{- define "vdi-operator.notes.next" -}}
{{- $portal := include "vdi-operator.portal.namespace" . -}}
{{- $namespace := coalesce $portal (first .Values.watchNamespaces) "vdi-sessions" -}}
1. A namespace for sessions. Never {{ .Release.Namespace }}: tenants must not share a namespace with the platform.

{{- if .Values.watchNamespaces }}

kubectl label namespace {{ $namespace }} pod-security.kubernetes.io/enforce=restricted{{ if $portal }} vdi.kasm.io/sessions=true{{ end }}
{{- else }}
{{ if not $portal }}
kubectl create namespace {{ $namespace }}{{ end }}
kubectl label namespace {{ $namespace }} pod-security.kubernetes.io/enforce=restricted vdi.kasm.io/sessions=true
{{- end }}

2. A template: what is offered. More lie in values/templates/ of the repository.

kubectl apply -f - <<EOF
apiVersion: vdi.kasm.io/v1alpha1
kind: VDITemplate
metadata:
  name: plain-desktop
spec:
  displayName: Plain desktop
  image: ghcr.io/selkies-project/selkies/example:v2.1.0-trixie
  resources:
    defaultGPU: 1  # 0 where no node has a GPU
EOF

{{ if $portal -}}
3. A desktop: people log in at {{ include "vdi-operator.notes.loginURL" . }}, as step 5 says, and choose New desktop.
It is made in namespace {{ $portal }}. Without a VDIQuota everybody may make any number of desktops.
{{- else -}}
3. A session: one desktop of one user.

kubectl apply -f - <<EOF
apiVersion: vdi.kasm.io/v1alpha1
kind: VDISession
metadata:
  name: alice
  namespace: {{ $namespace }}
spec:
  user: alice@example.com
  template: plain-desktop
EOF
{{- end }}

4. Watch it start; its URL lies below {{ include "vdi-operator.notes.url" . }}

kubectl get vdi -A -w
{{ if eq .Values.access.mode "OIDC" }}
5. Log in there, or at {{ include "vdi-operator.notes.loginURL" . }} for a list of one's desktops, as the
person whose claim {{ .Values.access.oidc.userClaim }} is the session's user. Register this redirect address at the
identity provider: {{ include "vdi-operator.notes.loginURL" . }}/callback
and, so that a logout there ends desktops, this back-channel logout address:
{{ include "vdi-operator.notes.loginURL" . }}/backchannel-logout
{{- if has .Values.access.oidc.userClaim (list "name" "given_name" "family_name" "middle_name" "nickname" "preferred_username" "profile" "website") }}

access.oidc.userClaim: at many identity providers people can change {{ .Values.access.oidc.userClaim }} themselves, and
so take names that nobody has used yet. Use a claim that administrators alone set.
{{- end }}
{{- else if include "vdi-operator.access.isLocal" . }}
{{- include "vdi-operator.notes.people" . }}
{{- else }}
5. Its password:

kubectl get secret -n {{ $namespace }} alice-credentials -o jsonpath='{.data.password}' | base64 -d; echo
{{- end }}
{{- if and (include "vdi-operator.access.logsIn" .) (not $portal) }}

To let people make desktops of their own at {{ include "vdi-operator.notes.loginURL" . }}: --set {{ include "vdi-operator.valueName" (dict "root" . "name" "portal.namespace") }}={{ $namespace }}
{{- end }}
{{- if .Values.gpuSharing.enabled }}

How GPUs are shared, node by node:

kubectl get configmap -n {{ .Release.Namespace }} vdi-gpu-sharing-status -o yaml
{{- end }}
{{- end -}}

{{/* In mode Local. */}}
{{- define "vdi-operator.notes.people" }}
{{- $namespace := .Release.Namespace }}
{{- $people := include "vdi-operator.access.people" . | fromJson }}
{{- $create := printf "kubectl create secret generic %s -n %s --from-file=%speople.yaml" $people.name $namespace (ternary "" (printf "%s=" $people.key) (eq $people.key "people.yaml")) }}
{{- $door := include "vdi-operator.frontDoor.name" . }}
5. Log in there, or at {{ include "vdi-operator.notes.loginURL" . }} for a list of one's desktops. Who may log
in stands in a Secret, which you make now. An entry for Alice, for which this asks a password:

kubectl exec -it -n {{ $namespace }} deployment/{{ $door }} -- vdi-frontdoor hash alice --user alice@example.com

Put what it prints below a line `people:` into a file people.yaml, one entry for each person. Check the file,
and make the Secret of it:

kubectl exec -i -n {{ $namespace }} deployment/{{ $door }} -- vdi-frontdoor check - < people.yaml
{{ $create }}

After a change of the file; the front door sees it within about a minute:

{{ $create }} --dry-run=client -o yaml | kubectl apply -f -
{{- end -}}

{{- define "vdi-operator.notes.url" -}}
https://*.{{ include "vdi-operator.domain" . }}{{ if ne (int .Values.sessions.externalPort) 443 }}:{{ .Values.sessions.externalPort }}{{ end }}
{{- end -}}

{{- define "vdi-operator.notes.loginURL" -}}
https://{{ include "vdi-operator.access.loginHost" . }}{{ if ne (int .Values.sessions.externalPort) 443 }}:{{ .Values.sessions.externalPort }}{{ end }}
{{- end -}}

{{/* About a proxy that is not of this release: what runs after this install ran before. */}}
{{- define "vdi-operator.notes.proxy" -}}
{{- $images := include "vdi-operator.proxy.images" . | fromJson -}}
{{- with get $images "Old" }}
WARNING: the proxy is too old: {{ . | uniq | sortAlpha | join ", " }}. {{ include "vdi-operator.proxy.hole" $ }}
{{- end }}
{{- with get $images "Unknown" }}
The proxy's image {{ . | uniq | sortAlpha | join ", " }} does not say its version, which must be
{{ include "vdi-operator.proxy.floor" $ }} or newer: `helm test {{ $.Release.Name }} -n {{ $.Release.Namespace }}` asks the proxy itself.
{{- end }}
{{- with include "vdi-operator.proxy.demands" $ | trim | splitList "\n" | uniq | join "\n" }}
{{ . }}
{{- end }}
{{- end -}}

{{- define "vdi-operator.notes.warnings" -}}
{{- if not (include "vdi-operator.frontDoor.hasRoutes" .) }}
WARNING: the front door has no routes{{ if eq .Values.frontDoor.routes "Auto" }}, because this cluster does not know Traefik's
IngressRoute yet: upgrade this release after Traefik is installed{{ end }}. Until then the URL of a
suspended desktop shows an error{{ if include "vdi-operator.access.logsIn" . }}, and nobody can log in{{ end }}.
{{- end }}
{{- if and .Values.crds.upgradeJob.enabled .Values.rbac.create }}
{{- $comparable := "^v?[0-9]+[.][0-9]+[.][0-9]+(-[0-9A-Za-z-]+([.][0-9A-Za-z-]+)*)?([+][0-9A-Za-z.-]+)?$" }}
{{- range $name := list "vdiquotas.vdi.kasm.io" "vdisessions.vdi.kasm.io" "vditemplates.vdi.kasm.io" "vdiusages.vdi.kasm.io" }}
{{- $crd := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name }}
{{- $version := dig "metadata" "annotations" "vdi.kasm.io/version" "" $crd }}
{{- if and (regexMatch $comparable $version) (regexMatch $comparable $.Chart.AppVersion) (gt ((semver $version).Compare (semver $.Chart.AppVersion)) 0) }}
WARNING: the CRD {{ $name }} is of version {{ $version }}, newer than this release ({{ $.Chart.AppVersion }}), and was left
as it is: another release brought it. Upgrade this one to that version too.
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $secrets := dict "imagePullSecrets" .Values.imagePullSecrets "sessions.images.pullSecrets" .Values.sessions.images.pullSecrets }}
{{- range $secrets }}
{{- if kindIs "string" . }}
WARNING: {{ include "vdi-operator.valueName" (dict "root" $ "name" $name) }} names Secrets by bare names: write {name: {{ . }}}; the next
release takes no others.
{{- end }}
{{- end }}
{{- end }}
{{- include "vdi-operator.notes.loosened" . }}
{{- if eq .Values.sessions.tls.mode "Secret" }}
WARNING: sessions.tls.mode is Secret: the certificate's key lies in every session
namespace, where tenants could read it and pose as any desktop. Prefer Wildcard.
{{- end }}
{{- if eq .Values.sessions.tls.mode "CertResolver" }}
WARNING: sessions.tls.mode is CertResolver: every session asks for a certificate of
its own; hosts become public in certificate transparency logs, and the issuer's
limits apply. Prefer Wildcard.
{{- end }}
{{- with .Values.sessions.network.openRanges }}
WARNING: sessions.network.openRanges opens {{ join ", " . }} to every desktop, except the metadata
services of clouds. Where that is more than is needed, name single ranges in allowedRanges.
{{- end }}
{{- if not .Values.sessions.verifyRoute }}
WARNING: sessions.verifyRoute is off: a session is called Running without proof that
its URL answers through the proxy.
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
WARNING: networkPolicy.enabled is off: every pod of the cluster can read the
operator's metrics.
{{- end }}
{{- if not .Values.admission.enabled }}
WARNING: admission.enabled is off: whoever may write sessions may write everybody's,
whoever may write routes may take any desktop's host, and who steals the operator's
token may start privileged pods.
{{- else if not .Values.watchNamespaces }}
{{- $lived := include "vdi-operator.admission.lived" . | fromJson }}
{{- if and $lived.unlabelled (not (include "vdi-operator.admission.labelRequired" .)) }}
WARNING: sessions live in namespaces where the operator's stolen token and other people's
routes are bounded less. When each of these is labelled{{ if eq (.Values.admission.namespaceLabel | default "Auto") "Auto" }}, the next upgrade demands it of all{{ end }}:
{{- range $lived.unlabelled }}
kubectl label namespace {{ . }} vdi.kasm.io/sessions=true
{{- end }}
{{- end }}
{{- if has .Release.Namespace $lived.all }}
WARNING: sessions live in {{ .Release.Namespace }}, beside the platform: they go on, and cannot start again
there. Make them anew in a namespace for sessions.
{{- end }}
{{- end }}
{{- if not .Values.rbac.create }}
WARNING: rbac.create is off: the operator works only when someone grants what
templates/_rbac.tpl lists.
{{- end }}
{{- end -}}
