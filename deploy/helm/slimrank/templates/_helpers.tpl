{{- define "slimrank.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{- end -}}
{{- end }}

{{- define "slimrank.selector" -}}
app.kubernetes.io/name: slimrank
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "slimrank.labels" -}}
{{ include "slimrank.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "slimrank.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- /* What every pod shares: no root, no token, no privileges. */ -}}
{{- define "slimrank.pod" -}}
serviceAccountName: {{ .Values.serviceAccount.name | default (include "slimrank.name" .) }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "slimrank.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "slimrank.redisSecret" -}}
{{ .Values.redis.existingSecret | default (printf "%s-redis" (include "slimrank.name" .)) }}
{{- end }}

{{- /* Certificates of an outside Redis, for gateways and workers: mount and volume. */ -}}
{{- define "slimrank.redisMount" -}}
{{- with .Values.redis.certificates.secret }}
- {name: redis-certificates, mountPath: /etc/slimrank/redis, readOnly: true}
{{- end }}
{{- end }}
{{- define "slimrank.redisVolume" -}}
{{- with .Values.redis.certificates.secret }}
- {name: redis-certificates, secret: {secretName: {{ . }}}}
{{- end }}
{{- end }}

{{- /* A probe of the gateway's port: a path, or the port alone where clients must show certificates. */ -}}
{{- define "slimrank.probe" -}}
{{- if .root.Values.gateway.tls.clientCa -}}
tcpSocket: {port: http}
{{- else -}}
httpGet: {path: {{ .path }}, port: http{{ if .root.Values.gateway.tls.secret }}, scheme: HTTPS{{ end }}}
{{- end -}}
{{- end }}

{{- define "slimrank.env" -}}
- name: SLIMRANK_REDIS_URL
{{- if .Values.redis.enabled }}
  valueFrom: {secretKeyRef: {name: {{ include "slimrank.redisSecret" . }}, key: url}}
{{- else }}
  valueFrom: {secretKeyRef: {name: {{ required "redis.urlSecret.name is needed where redis.enabled is false" .Values.redis.urlSecret.name }}, key: {{ .Values.redis.urlSecret.key }}}}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: SLIMRANK_{{ $name | upper }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
