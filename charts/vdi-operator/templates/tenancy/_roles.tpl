{{/* Roles for people: one line per kind. Bound in a namespace by a RoleBinding, they
hold there; desktops on offer belong to the whole cluster and have a role of their own. */}}
{{- define "vdi-operator.tenancy.roles" -}}
{{- /* Desktops of one's own: the policies in admission/ say whose. */ -}}
vdi-user:
  - apiGroups: [vdi.kasm.io]
    resources: [vdisessions]
    verbs: [get, list, watch, create, update, patch, delete]
  - apiGroups: [events.k8s.io, ""]
    resources: [events]
    verbs: [get, list, watch]
vdi-viewer:
  - apiGroups: [vdi.kasm.io]
    resources: [vdisessions]
    verbs: [get, list, watch]
  - apiGroups: [events.k8s.io, ""]
    resources: [events]
    verbs: [get, list, watch]
{{- /* Everybody's desktops: manage is the policies' own verb. */}}
vdi-admin:
  - apiGroups: [vdi.kasm.io]
    resources: [vdisessions]
    verbs: [get, list, watch, create, update, patch, delete, deletecollection, manage]
  - apiGroups: [vdi.kasm.io]
    resources: [vditemplates]
    verbs: [get, list, watch, create, update, patch, delete, deletecollection, use]
  - apiGroups: [vdi.kasm.io]
    resources: [vdiquotas]
    verbs: [get, list, watch, create, update, patch, delete, deletecollection]
  - apiGroups: [vdi.kasm.io]
    resources: [vdiusages]
    verbs: [get, list, watch]
  - apiGroups: [events.k8s.io, ""]
    resources: [events]
    verbs: [get, list, watch]
  {{- /* What kubectl vdi nodes, homes and top report. */}}
  - apiGroups: [""]
    resources: [nodes, pods, persistentvolumeclaims]
    verbs: [list]
  - apiGroups: [""]
    resources: [configmaps]
    resourceNames: [vdi-gpu-sharing-status]
    verbs: [list]
  - apiGroups: [metrics.k8s.io]
    resources: [pods]
    verbs: [list]
{{- /* What is on offer, by a ClusterRoleBinding. */}}
vdi-catalogue:
  - apiGroups: [vdi.kasm.io]
    resources: [vditemplates]
    verbs: [get, list, watch]
{{- /* Desktops from every template, read or not: use is the policies' own verb. */}}
vdi-template-user:
  - apiGroups: [vdi.kasm.io]
    resources: [vditemplates]
    verbs: [use]
{{- end -}}

{{/* The roles have one name per cluster. Only a cluster can tell whose they are. */}}
{{- define "vdi-operator.require.tenancy" -}}
{{- if and .Values.tenancy.roles.create (include "vdi-operator.makesForCluster" .) -}}
{{- with lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "vdi-user" -}}
{{- $owner := .metadata.annotations | default dict -}}
{{- $namespace := get $owner "meta.helm.sh/release-namespace" -}}
{{- $release := get $owner "meta.helm.sh/release-name" -}}
{{- if or (ne $namespace $.Release.Namespace) (ne $release $.Release.Name) -}}
{{- fail (printf "%s is on, but release %q in namespace %q made the ClusterRoles vdi-user, vdi-viewer, vdi-admin, vdi-catalogue and vdi-template-user already: switch it off here, they serve both" (include "vdi-operator.valueName" (dict "root" $ "name" "tenancy.roles.create")) $release $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
