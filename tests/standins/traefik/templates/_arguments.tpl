{{/* Arguments of Traefik, from the values. Not passed on, because Traefik
v3.6.25 is older than they are: core.strictTLSOptions,
kubernetesCRD.safeNaming and kubernetesCRD.defaultTLSResourcesNamespace (all v3.7.11). */}}

{{- define "traefik.arguments" -}}
- --global.checkNewVersion={{ .Values.global.checkNewVersion }}
- --global.sendAnonymousUsage={{ .Values.global.sendAnonymousUsage }}
- --log.level={{ .Values.log.level }}
- --api.dashboard={{ .Values.api.dashboard }}
- --ping=true
- --metrics.prometheus=true
- --metrics.prometheus.entryPoint=metrics
{{- if .Values.accessLog.enabled }}
- --accesslog=true
{{- end }}
{{ include "traefik.arguments.providers" . }}
{{ include "traefik.arguments.entryPoints" . }}
{{- range .Values.additionalArguments }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "traefik.arguments.providers" -}}
{{- with .Values.providers -}}
{{- if .kubernetesCRD.enabled -}}
- --providers.kubernetesCRD=true
- --providers.kubernetesCRD.allowCrossNamespace={{ .kubernetesCRD.allowCrossNamespace }}
- --providers.kubernetesCRD.allowExternalNameServices={{ .kubernetesCRD.allowExternalNameServices }}
- --providers.kubernetesCRD.allowEmptyServices={{ .kubernetesCRD.allowEmptyServices }}
{{- with .kubernetesCRD.labelSelector }}
- --providers.kubernetesCRD.labelSelector={{ . }}
{{- end }}
{{- with .kubernetesCRD.namespaces }}
- --providers.kubernetesCRD.namespaces={{ join "," . }}
{{- end }}
{{- end }}
{{- if .kubernetesIngress.enabled }}
- --providers.kubernetesIngress=true
{{- end }}
{{- if .kubernetesGateway.enabled }}
- --providers.kubernetesGateway=true
{{- end }}
{{- end -}}
{{- end -}}

{{- define "traefik.arguments.entryPoints" -}}
{{- range $name, $port := .Values.ports }}
- --entryPoints.{{ $name }}.address=:{{ $port.port }}/tcp
{{- end }}
{{- with .Values.ports.web.http.redirections.entryPoint }}
{{- if .to }}
- --entryPoints.web.http.redirections.entryPoint.to=:{{ (index $.Values.ports .to).exposedPort }}
- --entryPoints.web.http.redirections.entryPoint.scheme={{ .scheme }}
- --entryPoints.web.http.redirections.entryPoint.permanent={{ .permanent }}
{{- end }}
{{- end }}
{{- with .Values.ports.websecure }}
- --entryPoints.websecure.http.tls={{ .http.tls.enabled }}
{{- with .http.tls.certResolver }}
- --entryPoints.websecure.http.tls.certResolver={{ . }}
{{- end }}
{{- range $section, $settings := .transport }}
{{- range $key, $value := $settings }}
{{- if $value }}
- --entryPoints.websecure.transport.{{ $section }}.{{ $key }}={{ $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
