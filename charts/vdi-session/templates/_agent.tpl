{{/* The agent: the way in to the desktop, beside it from before its start until
after its end. It is ready when the desktop answers; a startup probe of that would
wait for a desktop that starts only after it. */}}
{{- define "vdi-session.agent" -}}
{{- $agent := .Values.agent -}}
{{- $readiness := .Values.pod.readiness -}}
- name: agent
  image: {{ required "agent.image is required: the image of the operator, which holds the agent" $agent.image | quote }}
  {{- with .Values.imagePullPolicy }}
  imagePullPolicy: {{ . | quote }}
  {{- end }}
  restartPolicy: Always
  command: [/usr/local/bin/vdi-agent]
  args:
    - --session={{ .Release.Namespace }}/{{ include "vdi-session.name" . }}
    - --session-uid={{ .Values.session.uid }}
    - --host={{ .Values.session.host }}
    - --mode={{ $agent.mode }}
    - --input={{ $agent.input }}
    - --endpoints={{ $agent.endpoints }}
    - --file-transfer={{ $agent.fileTransfer }}
    - --max-session-age={{ $agent.maxSessionAge }}
    - --listen=:8090
    - --status-listen=:8091
    - --desktop=127.0.0.1:{{ int64 .Values.streamer.port }}
    - --desktop-health={{ .Values.streamer.healthPath }}
    - --credentials-dir=/etc/vdi/credentials
    - --state-dir=/var/lib/vdi-agent
    {{- if .Values.turn.secretName }}
    - --turn-dir=/etc/vdi/turn
    {{- end }}
    {{- if eq $agent.mode "OIDC" }}
    - --statement-keys-dir=/etc/vdi/statement-keys
    {{- end }}
  ports:
    - name: agent
      containerPort: 8090
      protocol: TCP
    - name: agent-status
      containerPort: 8091
      protocol: TCP
  resources:
    {{- toYaml $agent.resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    capabilities:
      drop: [ALL]
    privileged: false
    readOnlyRootFilesystem: true
    # Another user than the desktop's, which could else read its memory.
    runAsUser: 65532
    runAsGroup: 65532
    runAsNonRoot: true
  terminationMessagePolicy: FallbackToLogsOnError
  {{- if .Values.turn.secretName }}
  startupProbe:
    # A streamer that asks for its login at the relay before somebody listens
    # does without for ever. This port opens after that one.
    tcpSocket:
      port: agent-status
    periodSeconds: 1
    failureThreshold: 60
  {{- end }}
  readinessProbe:
    httpGet:
      path: /ready
      port: agent-status
    periodSeconds: {{ int64 $readiness.periodSeconds }}
    timeoutSeconds: {{ int64 $readiness.timeoutSeconds }}
    failureThreshold: {{ int64 $readiness.failureThreshold }}
  lifecycle:
    preStop:
      # Viewers are told before anything stops, whoever ends the pod.
      exec:
        command: [/usr/local/bin/vdi-agent, goodbye, --state-dir=/var/lib/vdi-agent]
  volumeMounts:
    - name: credentials
      mountPath: /etc/vdi/credentials
      readOnly: true
    {{- if .Values.turn.secretName }}
    - name: turn
      mountPath: /etc/vdi/turn
      readOnly: true
    {{- end }}
    {{- if eq $agent.mode "OIDC" }}
    - name: statement-keys
      mountPath: /etc/vdi/statement-keys
      readOnly: true
    {{- end }}
    # Ended logins, which hold when this container starts again, and the socket for
    # a goodbye, which nobody else in the pod may reach.
    - name: agent-state
      mountPath: /var/lib/vdi-agent
{{- end -}}
