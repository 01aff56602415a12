{{/* Who makes what: where whoever installs may write in the release namespace alone, an
administrator applies the rest beforehand (clusterObjects). */}}

{{- define "vdi-operator.makesForCluster" -}}
{{- if ne (.Values.clusterObjects | default "Create") "Leave" -}}true{{- end -}}
{{- end -}}

{{- define "vdi-operator.makesForNamespace" -}}
{{- if ne (.Values.clusterObjects | default "Create") "Only" -}}true{{- end -}}
{{- end -}}

{{- define "vdi-operator.installer.name" -}}
{{- printf "%s-installer" (include "vdi-operator.fullname" . | trunc 53 | trimSuffix "-") -}}
{{- end -}}

{{/* In a namespace that may be the release's own: dict root namespace. */}}
{{- define "vdi-operator.makesIn" -}}
{{- if eq .namespace .root.Release.Namespace -}}
{{- include "vdi-operator.makesForNamespace" .root -}}
{{- else -}}
{{- include "vdi-operator.makesForCluster" .root -}}
{{- end -}}
{{- end -}}
