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

{{/* Whether RBAC allows the requester a verb on the sessions of the request's
namespace. The verbs manage and route exist for these policies alone. */}}
{{- define "vdi-operator.admission.may" -}}
authorizer.group('vdi.kasm.io').resource('vdisessions').namespace(request.namespace).check('{{ . }}').allowed()
{{- end -}}

{{/* "true" where RBAC is asked whether people may use a template. Nobody may be locked
out because a grant is missing, so by default only a release asks that makes the roles. */}}
{{- define "vdi-operator.admission.asksForTemplates" -}}
{{- $ask := .Values.tenancy.templates.ask -}}
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

{{/* A policy's binding: dict root, part, and actions and everywhere where they
differ. */}}
{{- define "vdi-operator.admission.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "vdi-operator.admission.name" . }}
  labels: {{- include "vdi-operator.labels" .root | nindent 4 }}
spec:
  policyName: {{ include "vdi-operator.admission.name" . }}
  validationActions: [{{ .action | default "Deny" }}]
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
{{- $domain := .Values.sessions.domain -}}
h.lowerAscii() != '{{ $domain }}' && !h.lowerAscii().endsWith('.{{ $domain }}') && !(h.startsWith('*.') && '.{{ $domain }}'.endsWith(h.lowerAscii().substring(1)))
{{- end -}}
