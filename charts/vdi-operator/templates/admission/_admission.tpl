{{/* Parts of the admission policies. Each policy lets the platform itself and
administrators pass first (matchConditions), and judges only who is left. */}}

{{/* Policies belong to the whole cluster, so their names carry the release: dict
root and part. */}}
{{- define "vdi-operator.admission.name" -}}
{{- printf "%s.%s.%s" .part (include "vdi-operator.fullname" .root) .root.Release.Namespace -}}
{{- end -}}

{{/* A ServiceAccount of the release namespace, as admission sees it: dict root
and account. */}}
{{- define "vdi-operator.admission.username" -}}
{{- printf "system:serviceaccount:%s:%s" .root.Release.Namespace .account -}}
{{- end -}}

{{/* A CEL list of who may do to sessions whatever their own RBAC allows: the
operator, and the Job that takes its finalizer off at an uninstall. */}}
{{- define "vdi-operator.admission.platform" -}}
{{- $accounts := list (include "vdi-operator.serviceAccount.name" .) -}}
{{- if .Values.uninstall.job.enabled -}}
{{- $accounts = append $accounts (include "vdi-operator.hook.name" (dict "root" . "task" "uninstall")) -}}
{{- end -}}
{{- $users := list -}}
{{- range $accounts }}{{ $users = append $users (include "vdi-operator.admission.username" (dict "root" $ "account" .)) }}{{ end -}}
{{- toJson $users -}}
{{- end -}}

{{/* A CEL list of controllers that end objects on everybody's behalf, by their
exact names: the workload controllers beside them make what tenants ask for. The
last is all of them at once, where they have no account each. */}}
{{- define "vdi-operator.admission.system" -}}
{{- list
  "system:serviceaccount:kube-system:generic-garbage-collector"
  "system:serviceaccount:kube-system:namespace-controller"
  "system:serviceaccount:kube-system:storage-version-migrator-controller"
  "system:kube-controller-manager" | toJson -}}
{{- end -}}

{{/* The conditions of policies that judge sessions of people: the platform, administrators,
portals and who ends a namespace pass first. */}}
{{- define "vdi-operator.admission.ofPeople" -}}
- name: not-the-platform
  expression: >-
    !(request.userInfo.username in {{ include "vdi-operator.admission.platform" . }})
- name: not-the-end-of-a-namespace
  expression: >-
    request.operation == 'CREATE' || !(request.userInfo.username in {{ include "vdi-operator.admission.system" . }})
{{ include "vdi-operator.admission.ofThemselves" . }}
{{- end -}}

{{/* Those of policies that people alone can run into. */}}
{{- define "vdi-operator.admission.ofThemselves" -}}
{{ include "vdi-operator.admission.notTheFrontDoor" . }}
{{- with .Values.admission.creatorGroups }}
- name: not-a-creator
  expression: >-
    !(has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in {{ toJson . }}))
{{- end }}
- name: not-an-administrator
  expression: >-
    !{{ include "vdi-operator.admission.may" "manage" }}
{{- end -}}

{{- define "vdi-operator.admission.notTheFrontDoor" -}}
# It has policies of its own, which say what it makes, changes and ends (templates/frontdoor).
- name: not-the-front-door
  expression: >-
    request.userInfo.username != {{ include "vdi-operator.frontDoor.username" . | toJson }}
{{- end -}}

{{/* The variables groups, which the requester is in as spec.groups names them, and
namesGroups, whether the request has them named: when the session is made, when they
change, when it is resumed, and when something else changes of one that is to run and has
no desktop. So who has left a group starts none by it, and nobody starts one beside it. */}}
{{- define "vdi-operator.admission.groupVariables" -}}
{{- $prefix := toJson (dig "requesterGroupPrefix" "" .Values.access) -}}
- name: groups
  expression: >-
    request.userInfo.?groups.orValue([]).filter(g, g.startsWith({{ $prefix }})).map(g, g.substring({{ $prefix }}.size()))
- name: namesGroups
  expression: >-
    request.operation == 'CREATE' || request.operation == 'UPDATE' && (
    object.spec.?groups.orValue([]) != oldObject.spec.?groups.orValue([])
    || object.spec != oldObject.spec && object.spec.?runPolicy.orValue('') != 'Suspended'
    && (oldObject.spec.?runPolicy.orValue('') == 'Suspended' || oldObject.?status.?podName.orValue('') == ''))
{{- end -}}

{{/* Whether RBAC allows the requester a verb on the sessions of the request's
namespace. The verbs manage and route exist for these policies alone. */}}
{{- define "vdi-operator.admission.may" -}}
authorizer.group('vdi.kasm.io').resource('vdisessions').namespace(request.namespace).check('{{ . }}').allowed()
{{- end -}}

{{/* "true" where RBAC is asked whether people may use a template. Nobody may be locked
out because a grant is missing, so by default only a release asks that makes the roles. */}}
{{- define "vdi-operator.admission.asksForTemplates" -}}
{{- $ask := dig "templates" "ask" "Auto" .Values.tenancy -}}
{{- if or (eq $ask "Always") (and (eq $ask "Auto") .Values.tenancy.roles.create) -}}true{{- end -}}
{{- end -}}

{{/* The namespaces this release serves. */}}
{{- define "vdi-operator.admission.where" -}}
{{- with .Values.watchNamespaces }}
matchResources:
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{- toYaml . | nindent 10 }}
{{- end }}
{{- end -}}

{{/* A policy's binding: dict root, part, and actions, everywhere and params (whether it
reads objects, of which there may be none) where they differ. */}}
{{- define "vdi-operator.admission.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "vdi-operator.admission.name" . }}
  labels: {{- include "vdi-operator.labels" .root | nindent 4 }}
spec:
  policyName: {{ include "vdi-operator.admission.name" . }}
  validationActions: [{{ .action | default "Deny" }}]
  {{- if .params }}
  paramRef: {selector: {}, parameterNotFoundAction: Allow}
  {{- end }}
  {{- if not .everywhere }}
  {{- include "vdi-operator.admission.where" .root | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* A CEL list of Traefik's entry points that desktops are reached by, or sent on from. */}}
{{- define "vdi-operator.admission.entryPoints" -}}
{{- append (dig "ingressRoute" "entryPoints" (list "websecure") .Values.sessions.values) "web" | uniq | toJson -}}
{{- end -}}

{{/* Whether host h is no desktop's, and no wildcard above them. */}}
{{- define "vdi-operator.admission.foreign" -}}
{{- $domain := include "vdi-operator.domain" . -}}
h.lowerAscii() != '{{ $domain }}' && !h.lowerAscii().endsWith('.{{ $domain }}') && !(h.startsWith('*.') && '.{{ $domain }}'.endsWith(h.lowerAscii().substring(1)))
{{- end -}}

{{/* The condition of the policies that bound the operator itself: RBAC says which kinds it
writes, these say which objects and fields. Its token is then no more than that. */}}
{{- define "vdi-operator.admission.theOperator" -}}
- name: the-operator
  expression: >-
    request.userInfo.username == {{ include "vdi-operator.admission.username" (dict "root" . "account" (include "vdi-operator.serviceAccount.name" .)) | toJson }}
{{- end -}}

{{/* What a request is about, for messages. */}}
{{- define "vdi-operator.admission.subject" -}}
request.resource.resource + ' ' + request.namespace + '/' + variables.name
{{- end -}}

{{/* A CEL list of the sessions that control object or oldObject: there is one at most. */}}
{{- define "vdi-operator.admission.sessionsOf" -}}
{{ . }} != null ? {{ . }}.metadata.?ownerReferences.orValue([]).filter(r,
r.kind == 'VDISession' && r.apiVersion.startsWith('vdi.kasm.io/') && r.?controller.orValue(false)) : []
{{- end -}}

{{/* A map of metadata, labels or annotations: dict of and field. */}}
{{- define "vdi-operator.admission.mapOf" -}}
{{ .of }} != null ? {{ .of }}.metadata.?{{ .field }}.orValue({}) : {}
{{- end -}}

{{/* Whether labels (a variable) are those of a desktop's objects. */}}
{{- define "vdi-operator.admission.ofDesktop" -}}
{{ . }}[?'app.kubernetes.io/managed-by'].orValue('') == 'vdi-operator'
&& {{ . }}[?'app.kubernetes.io/name'].orValue('') == 'vdi-session' && 'vdi.kasm.io/user' in {{ . }}
{{- end -}}

{{/* Whether two maps are equal but for some keys: dict before, after and but, a CEL list. */}}
{{- define "vdi-operator.admission.equalBut" -}}
{{ .after }}.all(k, k in {{ .but }} || k in {{ .before }} && {{ .before }}[k] == {{ .after }}[k])
&& {{ .before }}.all(k, k in {{ .but }} || k in {{ .after }})
{{- end -}}

{{/* The same for labels and annotations, to which the cluster's own webhooks may add: what
was there stays, and of what is new nothing is the platform's. */}}
{{- define "vdi-operator.admission.keptBut" -}}
{{ .before }}.all(k, k in {{ .but }} || k in {{ .after }} && {{ .after }}[k] == {{ .before }}[k])
&& {{ .after }}.all(k, k in {{ .but }} || k in {{ .before }} || !(k.startsWith('vdi.kasm.io/') || k.startsWith('app.kubernetes.io/')))
{{- end -}}

{{/* A CEL list of namespaces where no session may have anything: their accounts, Secrets
and pods are the cluster's or the platform's. */}}
{{- define "vdi-operator.admission.closed" -}}
{{- list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace | uniq | toJson -}}
{{- end -}}

{{- define "vdi-operator.admission.closedAdvice" -}}
'no session may start in namespace ' + request.namespace + ', which is the cluster\'s or the platform\'s: make it in a namespace for sessions'
{{- end -}}

{{/* "true" where sessions live in labelled namespaces only: where somebody says so, and by
itself once no session lives elsewhere; from then on it stays. Only a cluster can say that:
rendered without one, as by GitOps tools, nothing is demanded. */}}
{{- define "vdi-operator.admission.labelRequired" -}}
{{- $mode := .Values.admission.namespaceLabel | default "Auto" -}}
{{- if and .Values.admission.enabled (not .Values.watchNamespaces) -}}
{{- if eq $mode "Require" -}}
true
{{- else if and (eq $mode "Auto") (include "vdi-operator.makesForCluster" .) (lookup "v1" "Namespace" "" "kube-system") -}}
{{- $before := lookup "admissionregistration.k8s.io/v1" "ValidatingAdmissionPolicy" "" (include "vdi-operator.admission.name" (dict "root" . "part" "places")) -}}
{{- if eq (dig "metadata" "annotations" "vdi.kasm.io/namespace-label" "" $before) "required" -}}
true
{{- else -}}
{{- /* At an upgrade, namespaces without a session now may have had some yesterday. */ -}}
{{- $lived := include "vdi-operator.admission.lived" . | fromJson -}}
{{- if and (or .Release.IsInstall $lived.all) (not $lived.unlabelled) }}true{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The namespaces in which sessions live, as JSON: all of them, and those without the
label. Empty without a cluster. */}}
{{- define "vdi-operator.admission.lived" -}}
{{- $all := dict -}}
{{- if and (.Capabilities.APIVersions.Has "vdi.kasm.io/v1alpha1/VDISession") (include "vdi-operator.makesForCluster" .) -}}
{{- range (lookup "vdi.kasm.io/v1alpha1" "VDISession" "" "").items -}}
{{- $_ := set $all .metadata.namespace true -}}
{{- end -}}
{{- end -}}
{{- $unlabelled := list -}}
{{- range $name := keys $all | sortAlpha -}}
{{- if ne (dig "metadata" "labels" "vdi.kasm.io/sessions" "" (lookup "v1" "Namespace" "" $name)) "true" -}}
{{- $unlabelled = append $unlabelled $name -}}
{{- end -}}
{{- end -}}
{{- dict "all" (keys $all | sortAlpha) "unlabelled" $unlabelled | toJson -}}
{{- end -}}

{{/* Whether the request's namespace is one for sessions. */}}
{{- define "vdi-operator.admission.labelled" -}}
has(namespaceObject.metadata.labels) && 'vdi.kasm.io/sessions' in namespaceObject.metadata.labels
&& namespaceObject.metadata.labels['vdi.kasm.io/sessions'] == 'true'
{{- end -}}

{{- define "vdi-operator.admission.labelAdvice" -}}
'namespace ' + request.namespace + ' is not for sessions: an administrator of the cluster allows them there with "kubectl label namespace '
+ request.namespace + ' vdi.kasm.io/sessions=true", which also keeps others from writing routes in it'
{{- end -}}

{{/* What a desktop's pod may have, as JSON: the fields of its volumes, the sources of
projected ones, and the capabilities of its containers. The Job that checks an upgrade
judges living desktops by the same lists. */}}
{{- define "vdi-operator.admission.podVolumes" -}}
{{- concat (list "name" "configMap" "downwardAPI" "emptyDir" "ephemeral" "image" "persistentVolumeClaim" "projected" "secret") (dig "pods" "volumes" list .Values.admission | default list) | uniq | toJson -}}
{{- end -}}

{{- define "vdi-operator.admission.podSources" -}}
{{- concat (list "configMap" "downwardAPI" "secret" "clusterTrustBundle") (dig "pods" "volumes" list .Values.admission | default list) | uniq | toJson -}}
{{- end -}}

{{- define "vdi-operator.admission.podCapabilities" -}}
{{- concat (list "AUDIT_WRITE" "CHOWN" "DAC_OVERRIDE" "FOWNER" "FSETID" "KILL" "MKNOD" "NET_BIND_SERVICE" "SETFCAP" "SETGID" "SETPCAP" "SETUID" "SYS_CHROOT") (dig "pods" "capabilities" list .Values.admission | default list) | uniq | toJson -}}
{{- end -}}
