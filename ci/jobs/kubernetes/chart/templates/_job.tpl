{{/* The MPIJob's spec. Needs: root (.), words (railgauge's own, without --out), priority ("" for none), deadline. */}}
{{- define "railgauge.mpijob" -}}
slotsPerWorker: {{ .root.Values.gpusPerNode }}
mpiImplementation: OpenMPI
# sshd of a worker that is still starting refuses: the launcher waits for all of them
launcherCreationPolicy: WaitForWorkersReady
runPolicy:
  cleanPodPolicy: Running
  ttlSecondsAfterFinished: 86400
  activeDeadlineSeconds: {{ .deadline }}
  backoffLimit: 0
mpiReplicaSpecs:
  Launcher:
    replicas: 1
    restartPolicy: Never
    template:
      spec:
        {{- with .priority }}
        priorityClassName: {{ . }}
        {{- end }}
        {{- include "railgauge.pull" .root | nindent 8 }}
        containers:
          - name: launcher
            image: {{ .root.Values.image }}
            securityContext:
              runAsUser: 0 # the operator's ssh keys and mpirun --allow-run-as-root; the image itself runs as railgauge
            # 2 and 3 are railgauge's own words. Anything else may be mpirun's: Open MPI 5 ends with 0 when its daemon on
            # a node dies. Then the first worker, which has the run folder, is asked for the verdict, and only what
            # comes back from there counts.
            command:
              - bash
              - -c
              - |
                status=0
                "$@" || status=$?
                [ "$status" -ne 2 ] && [ "$status" -ne 3 ] || exit "$status"
                mpirun --allow-run-as-root --hostfile /etc/mpi/hostfile -n 1 --mca btl_tcp_if_include {{ .root.Values.interface }} \
                    bash -c 'railgauge judge "$0"; echo "verdict: $?"' "/runs/$JOB" > /tmp/judged
                cat /tmp/judged
                read -r last < <(tail -n 1 /tmp/judged)
                case $last in
                  "verdict: 0") exit 0 ;;
                  "verdict: 1") exit 1 ;;
                  *) exit 3 ;;
                esac
              - launcher
            args:
              - mpirun
              - --allow-run-as-root
              # the operator names it for Open MPI 4 only; said here, Open MPI 5 finds it too
              - --hostfile
              - /etc/mpi/hostfile
              - "-n"
              - {{ mul .root.Values.nodes .root.Values.gpusPerNode | quote }}
              - --bind-to
              - none
              # mpirun's and MPI's own messages stay on the pods' network, off the rails
              - --mca
              - btl_tcp_if_include
              - {{ .root.Values.interface }}
              - railgauge
              {{- range .words }}
              - {{ . | quote }}
              {{- end }}
              - --profile
              - {{ .root.Values.profile }}
              - --out
              - /runs/$(JOB)
            env:
              - name: JOB
                valueFrom:
                  fieldRef:
                    fieldPath: metadata.labels['training.kubeflow.org/job-name']
            resources:
              limits:
                cpu: "2"
                memory: 2Gi
  Worker:
    replicas: {{ .root.Values.nodes }}
    template:
      {{- include "railgauge.annotations" .root | nindent 6 }}
      spec:
        {{- with .priority }}
        priorityClassName: {{ . }}
        {{- end }}
        terminationGracePeriodSeconds: 60
        {{- include "railgauge.place" .root | nindent 8 }}
        containers:
          - name: worker
            command: [/usr/sbin/sshd]
            # a pod's hostname tells nobody which node it was on; sessions of sshd have none of the pod's variables
            args: [-De, -o, SetEnv=RAILGAUGE_NODE=$(RAILGAUGE_NODE)]
            # Whoever takes the pod away tells the ranks first: they leave by name, and are no casualties of their node
            lifecycle:
              preStop:
                exec:
                  command: [bash, -c, "pkill -TERM -f '[r]ailgauge {{ first .words }} ' ; sleep 5"]
            {{- include "railgauge.container" (dict "root" .root "user" 0) | nindent 12 }}
        {{- include "railgauge.volumes" .root | nindent 8 }}
{{- end }}

{{/* The labels that every object bears. */}}
{{- define "railgauge.labels" -}}
labels:
  app.kubernetes.io/name: railgauge
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "railgauge.pull" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "railgauge.annotations" -}}
{{- with .Values.worker.annotations -}}
metadata:
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "railgauge.place" -}}
{{- include "railgauge.pull" . }}
{{- if .Values.worker.hostNetwork -}}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
{{- with .Values.worker.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.worker.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "railgauge.container" -}}
image: {{ .root.Values.image }}
securityContext:
  {{- if hasKey . "user" }}
  runAsUser: {{ .user }} # sshd
  {{- end }}
  capabilities:
    add: [IPC_LOCK] # RDMA pins memory
env:
  - name: RAILGAUGE_NODE
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  {{- with .env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
# One worker is one whole node
resources:
  limits:
    nvidia.com/gpu: {{ .root.Values.gpusPerNode }}
    memory: {{ .root.Values.worker.memory }}
    {{- with .root.Values.worker.rdma }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
volumeMounts:
  - name: shm
    mountPath: /dev/shm
  - name: runs
    mountPath: /runs
{{- end }}

{{- define "railgauge.volumes" -}}
volumes:
  - name: shm # NCCL's shared memory; the default of 64 MiB is too small
    emptyDir:
      medium: Memory
  - name: runs
    persistentVolumeClaim:
      claimName: {{ .Values.claim }}
{{- end }}

{{/* A CronJob that makes an MPIJob from a ConfigMap, and the account that may do that and nothing else.
     Needs: root, name, schedule, words, priority, deadline. */}}
{{- define "railgauge.cron" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  {{- include "railgauge.labels" .root | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  {{- include "railgauge.labels" .root | nindent 2 }}
rules:
  - apiGroups: [kubeflow.org]
    resources: [mpijobs]
    verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  {{- include "railgauge.labels" .root | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .name }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  {{- include "railgauge.labels" .root | nindent 2 }}
data:
  mpijob.yaml: |
    apiVersion: kubeflow.org/v2beta1
    kind: MPIJob
    metadata:
      generateName: {{ .name }}-
      {{- include "railgauge.labels" .root | nindent 6 }}
    spec:
      {{- include "railgauge.mpijob" . | nindent 6 }}
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ .name }}
  {{- include "railgauge.labels" .root | nindent 2 }}
spec:
  schedule: {{ .schedule | quote }}
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          serviceAccountName: {{ .name }}
          restartPolicy: Never
          {{- include "railgauge.pull" .root | nindent 10 }}
          securityContext: # it only asks the API server
            runAsNonRoot: true
            runAsUser: 65534
            seccompProfile:
              type: RuntimeDefault
          containers:
            - name: create
              image: {{ .root.Values.kubectlImage }}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities:
                  drop: [ALL]
              resources:
                requests:
                  cpu: 100m
                  memory: 64Mi
                limits:
                  memory: 256Mi
              command: [kubectl, create, -f, /job/mpijob.yaml]
              volumeMounts:
                - name: job
                  mountPath: /job
          volumes:
            - name: job
              configMap:
                name: {{ .name }}
{{- end }}
