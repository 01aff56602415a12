{{/* Parts of the Jobs that Helm runs around an install. Each Job has an account
of its own, made for it and gone with it, that may do this one thing. */}}

{{- define "vdi-operator.hook.name" -}}
{{- printf "%s-%s" (include "vdi-operator.fullname" .root | trunc 52 | trimSuffix "-") .task -}}
{{- end -}}

{{- define "vdi-operator.hook.clusterName" -}}
{{- printf "%s:%s" (include "vdi-operator.clusterRole.name" .root) .task -}}
{{- end -}}

{{/* Never the labels of the operator's own pods: Service, network policy and the
wait for its last pod select these. */}}
{{- define "vdi-operator.hook.labels" -}}
{{- $own := dict
  "app" (printf "%s-%s" .root.Chart.Name .task)
  "app.kubernetes.io/name" (printf "%s-%s" .root.Chart.Name .task)
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/part-of" "vdi-platform"
  "app.kubernetes.io/component" .task -}}
{{- toYaml (merge dict $own .root.Values.commonLabels) -}}
{{- end -}}

{{/* Rights come before the Job; what failed stays to be looked at until the next try. */}}
{{- define "vdi-operator.hook.annotations" -}}
helm.sh/hook: {{ .events }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "vdi-operator.hook.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "vdi-operator.hook.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  annotations: {{- include "vdi-operator.hook.annotations" (merge (dict "weight" "-10") .) | nindent 4 }}
automountServiceAccountToken: false
{{- end -}}

{{/* A role and its binding: dict root task events rules, and kind and name, with
a namespace for a Role. */}}
{{- define "vdi-operator.hook.role" -}}
{{- $annotations := include "vdi-operator.hook.annotations" (merge (dict "weight" "-9") .) -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  annotations: {{- $annotations | nindent 4 }}
rules: {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  annotations: {{- $annotations | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "vdi-operator.hook.name" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{- define "vdi-operator.hook.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "vdi-operator.hook.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  annotations:
    {{- include "vdi-operator.hook.annotations" (merge (dict "weight" (.jobWeight | default "0")) .) | nindent 4 }}
    # The Job's own words, where the user looks.
    helm.sh/hook-output-log-policy: hook-failed
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 290
  podFailurePolicy:
    rules:
      # Exit code 2: a second try cannot help.
      - action: FailJob
        onExitCodes:
          containerName: vdi-operator
          operator: In
          values: [2]
  template:
    metadata:
      labels: {{- include "vdi-operator.hook.labels" . | nindent 8 }}
    spec: {{- include "vdi-operator.hook.pod" . | nindent 6 }}
{{- end -}}

{{- define "vdi-operator.hook.pod" -}}
{{- $values := .root.Values -}}
restartPolicy: Never
serviceAccountName: {{ include "vdi-operator.hook.name" . }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with include "vdi-operator.pod.pullSecrets" .root }}
{{ . }}
{{- end }}
securityContext: {{- include "vdi-operator.pod.securityContext" (dict "root" .root "override" $values.podSecurityContext) | nindent 2 }}
containers:
  - name: vdi-operator
    image: {{ include "vdi-operator.image" .root | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    {{- with .command }}
    command: {{- toYaml . | nindent 6 }}
    {{- end }}
    args: {{- toYaml .args | nindent 6 }}
    env:
      - name: POD_NAMESPACE
        valueFrom:
          fieldRef:
            fieldPath: metadata.namespace
    {{- with $values.hooks.resources }}
    resources: {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext: {{- include "vdi-operator.container.securityContext" $values.containerSecurityContext | nindent 6 }}
    {{- if .config }}
    volumeMounts:
      - name: config
        mountPath: /etc/vdi
        readOnly: true
    {{- end }}
{{- if .config }}
volumes:
  - name: config
    configMap:
      name: {{ .configName | default (include "vdi-operator.config.name" .root) }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
