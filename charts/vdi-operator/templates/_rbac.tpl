{{/* What the operator may do: one line per kind, only what it uses, no wildcard.
tests/charts refuses wildcards and any list or watch of Secrets. */}}

{{/* In session namespaces, or everywhere when no namespaces are listed. */}}
{{- define "vdi-operator.rbac.sessions" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vdisessions]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [vdi.kasm.io]
  resources: [vdisessions/status]
  verbs: [patch]
{{- /* The verb by which admission/routes.yaml, also another release's, knows an operator. */}}
- apiGroups: [vdi.kasm.io]
  resources: [vdisessions]
  verbs: [route]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
{{- /* These end with their session, by the garbage collector. */}}
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [traefik.io]
  resources: [ingressroutes]
  verbs: [get, list, watch, create, patch, delete]
{{- /* The question to the front door, and the keys of its answers. */}}
{{- if include "vdi-operator.access.logsIn" . }}
- apiGroups: [traefik.io]
  resources: [middlewares]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch]
{{- end }}
{{- /* No get: whose a Secret is says admission/operator.yaml, asked by an update that is not
carried out. No patch: a malformed one is answered with the object before any policy is asked. */}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, update{{ if not .Values.admission.enabled }}, get{{ end }}]
{{- /* List: why a start is late, only events say. Nobody watches them. */}}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list, create, patch]
{{- end -}}

{{/* The front door in session namespaces, or everywhere: what people change of their desktops.
templates/frontdoor/admission.yaml bounds the fields. */}}
{{- define "vdi-operator.rbac.frontDoor.sessions" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vdisessions]
  verbs: [get, list, watch, patch]
{{- end -}}

{{/* The front door in portal.namespace: people's own desktops. The same policies bound them. */}}
{{- define "vdi-operator.rbac.frontDoor.portal" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vdisessions]
  verbs: [create, delete]
{{- /* Homes without a desktop, and how long they are kept; templates/frontdoor/homes.yaml bounds it. */}}
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch]
{{- end -}}

{{/* What the front door shows to who is logged in: templates on offer, and what is used up. */}}
{{- define "vdi-operator.rbac.frontDoor.catalogue" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vditemplates, vdiquotas, vdiusages]
  verbs: [list, watch]
{{- end -}}

{{/* The front door in the release namespace. */}}
{{- define "vdi-operator.rbac.frontDoor.own" -}}
- apiGroups: [""]
  resources: [configmaps]
  # Of earlier versions, whose replicas write it while an upgrade is under way.
  resourceNames: [{{ include "vdi-operator.frontDoor.endedLoginsName" . }}]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: {{ include "vdi-operator.frontDoor.endedLoginsParts" . }}
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ include "vdi-operator.frontDoor.publicKeysName" . }}]
  verbs: [get, patch]
{{- end -}}

{{/* The Job that makes the front door's keys: made once, never changed. */}}
{{- define "vdi-operator.rbac.frontDoor.makeKeys" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "vdi-operator.frontDoor.keysName" . }}]
  verbs: [get]
{{- end -}}

{{/* Cluster-scoped things, needed in both modes. */}}
{{- define "vdi-operator.rbac.catalogue" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vditemplates, vdiquotas]
  verbs: [list, watch]
- apiGroups: [vdi.kasm.io]
  resources: [vditemplates/status, vdiquotas/status]
  verbs: [patch]
- apiGroups: [vdi.kasm.io]
  resources: [vdiusages]
  verbs: [get, list, watch, create, update, delete]
{{- /* Tells a missing proxy from a broken one, and heals without a restart. */}}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [ingressroutes.traefik.io]
  verbs: [list, watch]
{{- /* Kept of them: what they offer, and labels of those with GPUs. */}}
{{- if .Values.encoder.readNodes }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
{{- end }}
{{- end -}}

{{/* In the release namespace: leadership, the host claims and the state of GPU sharing. */}}
{{- define "vdi-operator.rbac.release" -}}
{{- /* Create cannot be bound to a name. */ -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "vdi-operator.lease.name" . }}]
  verbs: [get, update]
{{- $claims := not (contains "{id}" .Values.sessions.hostTemplate) }}
{{- if or $claims .Values.gpuSharing.enabled }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
- apiGroups: [""]
  resources: [configmaps]
  {{- /* Nobody can list the names of hosts that are yet to come; admission/operator.yaml bounds them. */}}
  {{- if not $claims }}
  resourceNames: [vdi-gpu-sharing-status]
  {{- end }}
  verbs: [get, update]
{{- end }}
{{- /* Leader election reports through the older events API. */}}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- /* What is told about GPUs hangs on a ConfigMap of this namespace. */}}
{{- if .Values.gpuSharing.enabled }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
{{- end -}}

{{/* The Job that upgrades the CRDs: these and no other. */}}
{{- define "vdi-operator.rbac.crds" -}}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [vdiquotas.vdi.kasm.io, vdisessions.vdi.kasm.io, vditemplates.vdi.kasm.io, vdiusages.vdi.kasm.io]
  verbs: [get, create, patch]
{{- end -}}

{{/* The Job that applies the default templates: these by name and no other. */}}
{{- define "vdi-operator.rbac.templates" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vditemplates]
  resourceNames: {{ keys .Values.templates | sortAlpha | toJson }}
  verbs: [create, patch]
{{- end -}}

{{/* The Job that checks the settings. */}}
{{- define "vdi-operator.rbac.check" -}}
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [list]
{{- end -}}

{{/* The Job that checks an upgrade: it reads, and writes nothing. */}}
{{- define "vdi-operator.rbac.upgradeCheck.settings" -}}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ include "vdi-operator.config.name" . }}]
  verbs: [get]
{{- end -}}

{{- define "vdi-operator.rbac.upgradeCheck.templates" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vditemplates]
  verbs: [list]
{{- end -}}

{{- define "vdi-operator.rbac.upgradeCheck.sessions" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vdisessions]
  verbs: [list]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [traefik.io]
  resources: [ingressroutes]
  verbs: [list]
{{- /* What the cluster's own webhooks add stands in the pods alone. */}}
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end -}}

{{/* The uninstall Job in the release namespace: stop the operator, lead in its place. */}}
{{- define "vdi-operator.rbac.stop" -}}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ include "vdi-operator.fullname" . }}]
  verbs: [get]
- apiGroups: [apps]
  resources: [deployments/scale]
  resourceNames: [{{ include "vdi-operator.fullname" . }}]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- /* Helm's own record of this release, whose labels say that it is uninstalled. After a rollback
the record has a later number than the Job: as many are named as it looks at
(operator/maintain/wanted.go). */}}
{{- if ne "true" (toString .Values.uninstall.job.force) }}
{{- $records := list }}
{{- range $later := until 21 }}
{{- $records = append $records (printf "sh.helm.release.v1.%s.v%d" $.Release.Name (add $.Release.Revision $later)) }}
{{- end }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson $records }}
  verbs: [get]
{{- end }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "vdi-operator.lease.name" . }}]
  verbs: [get, update]
{{- end -}}

{{/* The uninstall Job where sessions live: take the finalizer off, delete nothing. */}}
{{- define "vdi-operator.rbac.letGo" -}}
- apiGroups: [vdi.kasm.io]
  resources: [vdisessions]
  verbs: [get, list, patch]
{{- end -}}

{{/* The Job that labels routes of earlier versions for the proxy. Policies, also those of the
version before, let pass who holds these verbs. */}}
{{- define "vdi-operator.rbac.labelRoutes" -}}
- apiGroups: [traefik.io]
  resources: [ingressroutes, middlewares, tlsoptions, tlsstores]
  verbs: [get, list, patch]
- apiGroups: [vdi.kasm.io]
  resources: [vdisessions]
  verbs: [manage, route]
{{- end -}}

{{/* Sharing of GPUs: what the nodes offer, and which configuration holds. */}}
{{- define "vdi-operator.rbac.gpuSharing.cluster" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [clusterpolicies.nvidia.com]
  verbs: [list, watch]
- apiGroups: [nvidia.com]
  resources: [clusterpolicies]
  verbs: [list, watch]
{{- if .Values.gpuSharing.managePolicy }}
- apiGroups: [nvidia.com]
  resources: [clusterpolicies]
  resourceNames: [{{ .Values.gpuSharing.policy | default "cluster-policy" }}]
  verbs: [patch]
{{- end }}
{{- end -}}

{{/* Sharing of GPUs, in the GPU Operator's namespace: one ConfigMap, one DaemonSet. */}}
{{- define "vdi-operator.rbac.gpuSharing.namespace" -}}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ .Values.gpuSharing.configMap }}]
  verbs: [list, watch{{ if .Values.gpuSharing.managePolicy }}, create, patch{{ end }}]
- apiGroups: [apps]
  resources: [daemonsets]
  resourceNames: [nvidia-device-plugin-daemonset]
  verbs: [list, watch, patch]
{{- end -}}
