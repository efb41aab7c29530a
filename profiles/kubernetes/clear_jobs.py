"""Deletes the jobs that an earlier Snakemake left in a namespace, and waits until their pods are gone.

`python profiles/kubernetes/clear_jobs.py NAMESPACE`. A Snakemake that dies leaves its pods; a training among them still
holds its state, and a second one into the same state is refused.
"""

import sys
import time

from kubernetes import client, config

JOBS = "app=snakemake"  # the label that the executor plugin gives its jobs


def main(namespace: str) -> None:
    config.load_config()  # a kubeconfig, or the service account of the pod that this runs in
    api = client.BatchV1Api()
    api.delete_collection_namespaced_job(namespace, label_selector=JOBS, propagation_policy="Foreground")
    while left := api.list_namespaced_job(namespace, label_selector=JOBS).items:
        print(f"waiting for {len(left)} jobs of an earlier start to end", flush=True)
        time.sleep(2)


if __name__ == "__main__":
    main(sys.argv[1])
