{{/* The relay's pod, the same for Deployment and DaemonSet. */}}

{{- define "coturn.pod" -}}
metadata:
  labels: {{- include "coturn.labels.pod" . | nindent 4 }}
  annotations:
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    # coturn reads its configuration once: a change restarts it.
    checksum/config: {{ include "coturn.config" . | sha256sum }}
spec:
  serviceAccountName: {{ include "coturn.fullname" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if eq .Values.exposure "HostNetwork" }}
  hostNetwork: true
  {{- end }}
  # Else coturn is process 1, which SIGTERM does not end (4.6.1 has no handler): each
  # restart would take the whole grace period, and the new one needs the ports.
  shareProcessNamespace: true
  {{- with include "coturn.pod.pullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext: {{- include "coturn.pod.securityContext" (dict "root" . "user" 65534 "group" true) | nindent 4 }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  initContainers:
    {{- include "coturn.pod.config" . | nindent 4 }}
  containers:
    {{- include "coturn.pod.coturn" . | nindent 4 }}
  volumes:
    {{- include "coturn.pod.volumes" . | nindent 4 }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Joins the rendered file, the addresses and the secrets, in memory. */}}
{{- define "coturn.pod.config" -}}
- name: config
  image: {{ include "coturn.tool.image" . | quote }}
  imagePullPolicy: {{ .Values.tool.image.pullPolicy }}
  command: [/usr/local/bin/vdi-turn-secret]
  args:
    - config
    - --base=/etc/coturn-base/turnserver.conf
    - --secrets=/etc/coturn-secret
    - --out=/etc/coturn/turnserver.conf
    - --listen={{ .Values.address.listen | default "$(POD_IPS)" }}
    {{- if .Values.address.external }}
    - --external={{ .Values.address.external }}
    {{- else if eq .Values.address.externalFrom "Node" }}
    - --external-of-node=$(NODE_NAME)
    {{- end }}
  env:
    - name: POD_IPS
      valueFrom:
        fieldRef:
          fieldPath: status.podIPs
    - name: NODE_NAME
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
  resources:
    requests:
      cpu: 10m
      memory: 32Mi
    limits:
      memory: 64Mi
  securityContext: {{- include "coturn.container.securityContext" dict | nindent 4 }}
  volumeMounts:
    - name: base
      mountPath: /etc/coturn-base
      readOnly: true
    - name: secret
      mountPath: /etc/coturn-secret
      readOnly: true
    - name: config
      mountPath: /etc/coturn
    {{- if include "coturn.readsNode" . }}
    - name: token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
    {{- end }}
{{- end -}}

{{- define "coturn.readsNode" -}}
{{- if and (eq .Values.address.externalFrom "Node") (not .Values.address.external) -}}true{{- end -}}
{{- end -}}

{{/* Arguments of coturn, without extraArgs. */}}
{{- define "coturn.pod.args" -}}
- -c
- /etc/coturn/turnserver.conf
{{- if include "coturn.metrics.on" . }}
- --prometheus
- --prometheus-port={{ .Values.metrics.port }}
- --prometheus-address=$(POD_IP)
{{- end }}
{{- end -}}

{{/* The image's program carries this file capability; where it is not granted, the kernel
refuses to start it. The kernel grants one only where privileges may grow. */}}
{{- define "coturn.pod.coturn.securityContext" -}}
{{- $ours := dict "allowPrivilegeEscalation" (eq (include "coturn.bindsLowPort" .) "true") "capabilities" (dict "drop" (list "ALL") "add" (list "NET_BIND_SERVICE")) -}}
{{- include "coturn.container.securityContext" (dict "ours" $ours "override" .Values.containerSecurityContext) -}}
{{- end -}}

{{- define "coturn.pod.coturn" -}}
- name: coturn
  image: {{ include "coturn.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  # Not the image's entry point: it hands its arguments to a shell.
  command: [turnserver]
  args:
    {{- include "coturn.pod.args" . | nindent 4 }}
    {{- range .Values.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  env:
    - name: POD_IP
      valueFrom:
        fieldRef:
          fieldPath: status.podIP
    {{- with .Values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: turn-udp
      containerPort: {{ (include "coturn.ports" . | fromJson).turn }}
      protocol: UDP
    - name: turn-tcp
      containerPort: {{ (include "coturn.ports" . | fromJson).turn }}
      protocol: TCP
    {{- if .Values.tls.enabled }}
    - name: turn-tls
      containerPort: {{ (include "coturn.ports" . | fromJson).tls }}
      protocol: TCP
    {{- end }}
    {{- if include "coturn.metrics.on" . }}
    - name: metrics
      containerPort: {{ .Values.metrics.port }}
      protocol: TCP
    {{- end }}
  livenessProbe: {{- include "coturn.pod.probe" . | nindent 4 }}
    initialDelaySeconds: 10
    periodSeconds: 20
  readinessProbe: {{- include "coturn.pod.probe" . | nindent 4 }}
    periodSeconds: 5
  {{- with .Values.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "coturn.pod.coturn.securityContext" . | nindent 4 }}
  volumeMounts:
    - name: config
      mountPath: /etc/coturn
      readOnly: true
    - name: run
      mountPath: /run/coturn
    {{- if .Values.tls.enabled }}
    - name: tls
      mountPath: /etc/coturn-tls
      readOnly: true
    {{- end }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Ports below 1024 of the node are for the privileged; those of a pod's own
network are for everybody (container runtimes lower the bound there). */}}
{{- define "coturn.bindsLowPort" -}}
{{- $low := or (lt (int (include "coturn.ports" . | fromJson).turn) 1024) (and .Values.tls.enabled (lt (int (include "coturn.ports" . | fromJson).tls) 1024)) -}}
{{- if and $low (eq .Values.exposure "HostNetwork") -}}true{{- end -}}
{{- end -}}

{{/* A port that could not be bound is only a line in coturn's log, so the last
one is asked. The first listening address must be told to the kubelet where it is
not the pod's. */}}
{{- define "coturn.pod.probe" -}}
tcpSocket:
  port: {{ ternary "turn-tls" "turn-tcp" .Values.tls.enabled }}
  {{- with .Values.address.listen }}
  host: {{ splitList "," . | first | quote }}
  {{- end }}
{{- end -}}

{{- define "coturn.pod.volumes" -}}
- name: base
  configMap:
    name: {{ include "coturn.config.name" . }}
- name: secret
  secret:
    secretName: {{ include "coturn.secret.name" . }}
    defaultMode: 0440
- name: config
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
- name: run
  emptyDir:
    medium: Memory
    sizeLimit: 8Mi
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ .Values.tls.secretName }}
    defaultMode: 0440
{{- end }}
{{- if include "coturn.readsNode" . }}
# Only the container that writes the configuration gets the token, never coturn.
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
