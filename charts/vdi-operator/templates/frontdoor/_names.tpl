{{/* Names and labels of the front door, one per release namespace. */}}

{{- define "vdi-operator.frontDoor.name" -}}
vdi-frontdoor
{{- end -}}

{{/* Cluster-wide objects carry the namespace. */}}
{{- define "vdi-operator.frontDoor.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "vdi-operator.frontDoor.name" .) -}}
{{- end -}}

{{/* What it reads of the whole cluster. */}}
{{- define "vdi-operator.frontDoor.catalogueName" -}}
{{- printf "%s:catalogue" (include "vdi-operator.frontDoor.clusterName" .) -}}
{{- end -}}

{{/* Role and binding where the portal makes sessions. */}}
{{- define "vdi-operator.frontDoor.portalName" -}}
{{- printf "%s-portal" (include "vdi-operator.frontDoor.name" .) -}}
{{- end -}}

{{/* The same where the API takes DNS names only. */}}
{{- define "vdi-operator.frontDoor.policyName" -}}
{{- printf "%s.%s" (include "vdi-operator.frontDoor.name" .) .Release.Namespace -}}
{{- end -}}

{{- define "vdi-operator.frontDoor.templatesName" -}}
{{- printf "%s-templates.%s" (include "vdi-operator.frontDoor.name" .) .Release.Namespace -}}
{{- end -}}

{{- define "vdi-operator.frontDoor.homesName" -}}
{{- printf "%s-homes.%s" (include "vdi-operator.frontDoor.name" .) .Release.Namespace -}}
{{- end -}}

{{- define "vdi-operator.frontDoor.keysName" -}}
{{- .Values.frontDoor.keys.existingSecret | default "vdi-frontdoor-keys" -}}
{{- end -}}

{{- define "vdi-operator.frontDoor.endedLoginsName" -}}
vdi-frontdoor-ended-logins
{{- end -}}

{{/* The ConfigMaps that people are spread over, as JSON; how many there are is the front door's own number. */}}
{{- define "vdi-operator.frontDoor.endedLoginsParts" -}}
{{- $parts := list -}}
{{- range $n := until 8 -}}
{{- $parts = append $parts (printf "%s-%d" (include "vdi-operator.frontDoor.endedLoginsName" $) $n) -}}
{{- end -}}
{{- toJson $parts -}}
{{- end -}}

{{- define "vdi-operator.frontDoor.publicKeysName" -}}
vdi-frontdoor-public-keys
{{- end -}}

{{- define "vdi-operator.frontDoor.forwardAuth" -}}
{{- printf "http://%s.%s.svc:8081/auth" (include "vdi-operator.frontDoor.name" .) .Release.Namespace -}}
{{- end -}}

{{/* The selector is immutable in a Deployment: never add to it. */}}
{{- define "vdi-operator.frontDoor.selector" -}}
app.kubernetes.io/name: {{ include "vdi-operator.frontDoor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Ours last, so that common labels cannot override them. */}}
{{- define "vdi-operator.frontDoor.labels" -}}
{{- $own := dict
  "app" (include "vdi-operator.frontDoor.name" .)
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "vdi-platform"
  "app.kubernetes.io/component" "front-door" -}}
{{- $selector := include "vdi-operator.frontDoor.selector" . | fromYaml -}}
{{- toYaml (merge dict $selector $own .Values.commonLabels) -}}
{{- end -}}

{{/* Pods carry no chart version: a chart bump alone must not restart them. */}}
{{- define "vdi-operator.frontDoor.labels.pod" -}}
{{- $own := dict
  "app" (include "vdi-operator.frontDoor.name" .)
  "app.kubernetes.io/part-of" "vdi-platform"
  "app.kubernetes.io/component" "front-door" -}}
{{- $selector := include "vdi-operator.frontDoor.selector" . | fromYaml -}}
{{- toYaml (merge dict $selector $own .Values.frontDoor.podLabels .Values.commonLabels) -}}
{{- end -}}

{{- define "vdi-operator.frontDoor.autoscales" -}}
{{- if (.Values.frontDoor.autoscaling | default dict).enabled }}true{{ end -}}
{{- end -}}

{{- define "vdi-operator.frontDoor.leastReplicas" -}}
{{- $scaling := .Values.frontDoor.autoscaling | default dict -}}
{{- ternary $scaling.minReplicas .Values.frontDoor.replicas (eq "true" (include "vdi-operator.frontDoor.autoscales" .)) | int -}}
{{- end -}}

{{/* Beside the operator, unless the front door has a place of its own. */}}
{{- define "vdi-operator.frontDoor.placement" -}}
{{- $door := .Values.frontDoor -}}
{{- $place := dict "affinity" $door.affinity "topologySpreadConstraints" $door.topologySpreadConstraints -}}
{{- range $key := list "priorityClassName" "nodeSelector" "tolerations" -}}
{{- $_ := set $place $key (get $door $key | default (get $.Values $key)) -}}
{{- end -}}
{{- toYaml $place -}}
{{- end -}}

{{/* Arguments of the front door, without extraArgs. */}}
{{- define "vdi-operator.frontDoor.args" -}}
- --config=/etc/vdi/config.yaml
- --keys-dir=/etc/vdi-frontdoor/keys
- --ended-logins={{ include "vdi-operator.frontDoor.endedLoginsName" . }}
- --public-keys={{ include "vdi-operator.frontDoor.publicKeysName" . }}
- --listen=:8080
- --auth-listen=:8081
- --metrics-listen=:8082
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
- --log-level={{ .Values.logLevel }}
{{- if include "vdi-operator.access.logsIn" . }}
- --login-lifetime={{ .Values.frontDoor.loginLifetime }}
{{- end }}
{{- with include "vdi-operator.portal.namespace" . }}
- --portal-namespace={{ . }}
{{- end }}
{{- if include "vdi-operator.access.isLocal" . }}
- --people-dir=/etc/vdi-frontdoor/people
{{- end }}
{{- if eq .Values.access.mode "OIDC" }}
- --oidc-scopes={{ join " " .Values.access.oidc.scopes }}
- --oidc-client-secret-file=/etc/vdi-frontdoor/oidc/client-secret
{{- end }}
{{- end -}}
