{{/* Parts of the Jobs that Helm runs around an install. Each Job has an account
of its own, made for it and gone with it, that may do this one thing. With hooks.enabled
off the same Jobs are plain objects, for tools that run no hooks. */}}

{{- define "vdi-operator.hook.areOn" -}}
{{- if ne "false" (get (.Values.hooks | default dict) "enabled" | toString) }}true{{ end -}}{{/* helm upgrade --reuse-values knows no new defaults */ -}}
{{- end -}}

{{/* Plain Jobs are no cluster objects (clusterObjects: Only); hooks are left out by --no-hooks. */}}
{{- define "vdi-operator.hook.isMade" -}}
{{- if or (include "vdi-operator.hook.areOn" .) (include "vdi-operator.makesForNamespace" .) }}true{{ end -}}
{{- end -}}

{{- define "vdi-operator.hook.name" -}}
{{- printf "%s-%s" (include "vdi-operator.fullname" .root | trunc (int (sub 62 (len .task) | min 52)) | trimSuffix "-") .task -}}
{{- end -}}

{{/* A Job's pods cannot be changed: as a plain object, what does something else is another Job. */}}
{{- define "vdi-operator.hook.jobName" -}}
{{- $name := include "vdi-operator.hook.name" . -}}
{{- if not (include "vdi-operator.hook.areOn" .root) -}}
{{- $name = printf "%s-%s" (trunc 54 $name | trimSuffix "-") (include "vdi-operator.hook.template" . | sha256sum | trunc 8) -}}
{{- end -}}
{{- $name -}}
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

{{/* Rights come before the Job; what failed stays to be looked at until the next try. log: when
Helm prints the Job's own words. first: this Job runs before all others have anything. */}}
{{- define "vdi-operator.hook.annotations" -}}
{{- if include "vdi-operator.hook.areOn" .root -}}
annotations:
  helm.sh/hook: {{ .events }}
  helm.sh/hook-weight: {{ ternary (sub .weight 20) .weight (hasKey . "first") | toString | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  {{- with .log }}
  helm.sh/hook-output-log-policy: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "vdi-operator.hook.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "vdi-operator.hook.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  {{- with include "vdi-operator.hook.annotations" (merge (dict "weight" -10) .) }}{{ . | nindent 2 }}{{ end }}
automountServiceAccountToken: false
{{- end -}}

{{/* The settings to be, for Jobs that run before the operator's own are made. */}}
{{- define "vdi-operator.hook.config" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .configName }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  {{- with include "vdi-operator.hook.annotations" (merge (dict "weight" -8) .) }}{{ . | nindent 2 }}{{ end }}
data: {{- include "vdi-operator.config.files" .root | nindent 2 }}
{{- end -}}

{{/* A role and its binding: dict root task events rules, and kind and name, with
a namespace for a Role. */}}
{{- define "vdi-operator.hook.role" -}}
{{- $annotations := include "vdi-operator.hook.annotations" (merge (dict "weight" -9) .) -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  {{- with $annotations }}{{ . | nindent 2 }}{{ end }}
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
  {{- with $annotations }}{{ . | nindent 2 }}{{ end }}
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
  name: {{ include "vdi-operator.hook.jobName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  {{- with include "vdi-operator.hook.annotations" (merge (dict "weight" (.jobWeight | default 0) "log" (.jobLog | default "hook-failed")) .) }}{{ . | nindent 2 }}{{ end }}
spec:
  backoffLimit: 3
  activeDeadlineSeconds: {{ include "vdi-operator.hook.deadline" .root }}
  podFailurePolicy:
    rules:
      # Exit code 2: a second try cannot help.
      - action: FailJob
        onExitCodes:
          containerName: vdi-operator
          operator: In
          values: [2]
  template: {{- include "vdi-operator.hook.template" . | nindent 4 }}
{{- end -}}

{{- define "vdi-operator.hook.template" -}}
metadata:
  labels: {{- include "vdi-operator.hook.labels" . | nindent 4 }}
  {{- if and .config (not (include "vdi-operator.hook.areOn" .root)) }}
  annotations:
    checksum/config: {{ include "vdi-operator.config.files" .root | sha256sum }}
  {{- end }}
spec: {{- include "vdi-operator.hook.pod" . | nindent 2 }}
{{- end -}}

{{/* Seconds: a little less than Helm waits by default (--timeout 5m), so that the Job's own end
is what Helm reports. */}}
{{- define "vdi-operator.hook.deadline" -}}
{{- $deadline := include "vdi-operator.hook.deadlineText" . -}}
{{- $unit := get (dict "s" 1 "m" 60 "h" 3600) (trunc -1 $deadline) -}}
{{- sub (mul (trimSuffix (trunc -1 $deadline) $deadline | int) $unit) 10 -}}
{{- end -}}

{{- define "vdi-operator.hook.deadlineText" -}}
{{- get (.Values.hooks | default dict) "deadline" | default "5m" -}}{{/* helm upgrade --reuse-values knows no new defaults */ -}}
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
