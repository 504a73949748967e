{{- define "dbt-operator.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "dbt-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dbt-operator.labels" -}}
{{ include "dbt-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "dbt-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "dbt-operator.name" .) }}
{{- else }}{{ required "serviceAccount.name: name the ServiceAccount that is there, since serviceAccount.create is false" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- /* An image by digest or, without one, by tag: (dict "image" .Values.image "chart" .Chart) */ -}}
{{- define "dbt-operator.image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}
{{- else }}{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}{{ end }}
{{- end }}

{{- /* What the operator may do. No verb on secrets, no wildcard; events are read for what keeps a pod from starting. */ -}}
{{- define "dbt-operator.rules" -}}
- apiGroups: [dbt-operator.dev]
  resources: [dbttargets, dbtprojects, dbtruns, dbtbackfills, dbtschedules]
  verbs: [get, list, watch]
# Runs are created for the windows of backfills and the occurrences of schedules, which may have a backfill each; they
# are deleted for their ttlAfterFinished and for the history of a schedule.
- apiGroups: [dbt-operator.dev]
  resources: [dbtruns, dbtbackfills]
  verbs: [create, delete]
- apiGroups: [dbt-operator.dev]
  resources: [dbttargets/status, dbtprojects/status, dbtruns/status, dbtbackfills/status, dbtschedules/status]
  verbs: [patch]
# A Job that belongs to a DbtRun and blocks its deletion needs this where OwnerReferencesPermissionEnforcement is on, as
# does a DbtRun that belongs to a DbtBackfill or DbtSchedule.
- apiGroups: [dbt-operator.dev]
  resources: [dbtruns/finalizers, dbtbackfills/finalizers, dbtschedules/finalizers]
  verbs: [update]
# Jobs of others are read where a run waits for one, and watched, by their metadata, as long as it does. Patching one of
# ours that has failed marks it, so that nobody lists it any more.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete, patch]
# Deleting a pod is how a run is cancelled: it ends gracefully, and its Job keeps what became of it. Patching one opens
# its scheduling gate, once its run holds the target's slot, and asks it to stop between two windows of a backfill.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete, patch]
# The last line of the sidecar's log tells how far dbt is.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
{{- range .Values.waitFor.kinds }}
# The administrator lets runs wait for these.
- apiGroups: [{{ .group }}]
  resources: [{{ .plural }}]
  verbs: [get]
{{- end }}
{{- end }}

{{- /* What the notifier knows of the channels. */ -}}
{{- define "dbt-operator.channels" -}}
{{- $channels := dict }}
{{- range $name, $channel := .Values.notifications.channels }}
{{- $_ := set $channels $name (omit $channel "secretName" "repeatHours") }}
{{- end }}
{{- toJson (dict "channels" $channels) }}
{{- end }}

{{- /* What the operator knows of them. */ -}}
{{- define "dbt-operator.channelsOfOperator" -}}
{{- $channels := dict }}
{{- range $name, $channel := .Values.notifications.channels }}
{{- $_ := set $channels $name (pick $channel "namespaces" "repeatHours") }}
{{- end }}
{{- toJson $channels }}
{{- end }}
