"""What the pretended Kaggle knows, and how it answers each call: a model, not Kaggle.

An answer is a status and a JSON body, or the path of a file to be redirected to. The
rules that matter are here: a new notebook's slug comes from its title, sources that do
not exist are left out, a submission needs an output and no internet.
"""

# ruff: noqa: D102  (the methods are named for the calls they answer)

import re
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]
Reply = tuple[int, Body] | str


def slugify(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def error(status: int, message: str) -> tuple[int, Body]:
    return status, {"code": status, "message": message}


@dataclass
class Rules:
    """Notebooks, datasets and submissions of one user. `known_*` None takes any."""

    user: str = "stubuser"
    blobs: dict[str, Body] = field(default_factory=dict)
    kernels: dict[str, Body] = field(default_factory=dict)
    datasets: dict[str, list[list[str]]] = field(default_factory=dict)
    submissions: list[Body] = field(default_factory=list)
    run_ends_as: str = "COMPLETE"
    outputs: dict[str, bytes] = field(default_factory=dict)
    known_datasets: set[str] | None = None
    known_models: set[str] | None = None
    archive: bytes = b""
    serial: int = 1000

    def new_id(self) -> int:
        self.serial += 1
        return self.serial

    def reply(self, rpc: str, body: Body) -> Reply:
        answer = getattr(
            self, f"rpc_{re.sub('(?<!^)(?=[A-Z])', '_', rpc).lower()}", None
        )
        return answer(body) if answer else error(501, f"the stub has no {rpc}")

    # Files: a token for each, which the call that creates something names.

    def rpc_start_blob_upload(self, body: Body) -> Reply:
        token = f"token{self.new_id()}"
        self.blobs[token] = {"name": body["name"], "data": None}
        return 200, {"token": token, "createUrl": f"/upload/{token}"}

    def uploaded(self, files: list[Body]) -> list[str]:
        held = [self.blobs[each["token"]] for each in files]
        return [blob["name"] for blob in held if blob["data"] is not None]

    # Datasets.

    def rpc_get_dataset_status(self, body: Body) -> Reply:
        known = f"{body['ownerSlug']}/{body['datasetSlug']}" in self.datasets
        return (200, {"status": "READY"}) if known else error(404, "Not found")

    def rpc_get_dataset(self, body: Body) -> Reply:
        versions = self.datasets.get(f"{body['ownerSlug']}/{body['datasetSlug']}")
        if versions is None:
            return error(404, "Not found")
        return 200, {"ref": "any", "currentVersionNumber": len(versions)}

    def rpc_create_dataset(self, body: Body) -> Reply:
        return self._new_version(f"{body['ownerSlug']}/{body['slug']}", body)

    def rpc_create_dataset_version(self, body: Body) -> Reply:
        ref = f"{body['ownerSlug']}/{body['datasetSlug']}"
        if ref not in self.datasets:
            return error(404, "Dataset not found")
        return self._new_version(ref, body["body"])

    def _new_version(self, ref: str, body: Body) -> Reply:
        self.datasets.setdefault(ref, []).append(self.uploaded(body.get("files", [])))
        url = f"https://www.kaggle.com/datasets/{ref}"
        return 200, {"ref": ref, "url": url, "status": "ok", "error": ""}

    # Notebooks.

    def rpc_save_kernel(self, body: Body) -> Reply:
        slug = body["slug"]
        if slug.partition("/")[0] != self.user:
            return error(403, "Permission 'kernels.update' was denied")
        if slug not in self.kernels:
            slug = f"{self.user}/{slugify(body['newTitle'])}"
        kernel = self.kernels.setdefault(slug, {"id": self.new_id(), "versions": []})
        lost = self._unknown(body.get("datasetDataSources", []), self.known_datasets)
        models = self._unknown(body.get("modelDataSources", []), self.known_models)
        kernel["versions"].append(body)
        kernel["lost"] = {*lost, *models}
        url = f"https://www.kaggle.com/code/{slug}"
        return 200, {
            **{"ref": f"/code/{slug}", "url": url, "kernelId": kernel["id"]},
            "versionNumber": len(kernel["versions"]),
            "invalidDatasetSources": lost,
            "invalidModelSources": models,  # which the CLI prints nowhere
        }

    @staticmethod
    def _unknown(sources: list[str], known: set[str] | None) -> list[str]:
        return [] if known is None else [each for each in sources if each not in known]

    def rpc_get_kernel(self, body: Body) -> Reply:
        kernel = self.kernels.get(f"{body['userName']}/{body['kernelSlug']}")
        if not kernel:
            return error(403, "Permission 'kernels.get' was denied")
        sent = kernel["versions"][-1]
        sources = {
            name: [each for each in sent.get(name, []) if each not in kernel["lost"]]
            for name in sent
            if name.endswith("DataSources")
        }
        kind = {"language": "python", "kernelType": "notebook"}
        ref = f"{body['userName']}/{body['kernelSlug']}"
        return 200, {
            "metadata": {"id": kernel["id"], "ref": ref, **kind, **sources},
            "blob": {"source": sent["text"], "slug": body["kernelSlug"], **kind},
        }

    def rpc_get_kernel_session_status(self, body: Body) -> Reply:
        if f"{body['userName']}/{body['kernelSlug']}" not in self.kernels:
            return error(403, "Permission 'kernels.get' was denied")
        failed = self.run_ends_as == "ERROR"
        message = "Your notebook raised an exception" if failed else ""
        return 200, {"status": self.run_ends_as, "failureMessage": message}

    def rpc_list_kernel_session_output(self, _: Body) -> Reply:
        files = [{"fileName": n, "url": f"/files/output/{n}"} for n in self.outputs]
        return 200, {"files": files, "log": "the run's log\n", "nextPageToken": ""}

    # The competition.

    def rpc_download_data_files(self, body: Body) -> Reply:
        return f"/files/archive/{body['competitionName']}.zip"

    def rpc_create_code_submission(self, body: Body) -> Reply:
        kernel = self.kernels.get(f"{body['kernelOwner']}/{body['kernelSlug']}")
        version = body.get("kernelVersion", 0)
        if not kernel or not 1 <= version <= len(kernel["versions"]):
            return error(404, "Kernel or version not found")
        if kernel["versions"][version - 1].get("enableInternet"):
            return error(400, "Your Notebook cannot use internet access")
        if self.run_ends_as != "COMPLETE" or body["fileName"] not in self.outputs:
            return error(400, f"The version has no output named {body['fileName']}")
        ref = self.new_id()
        told = {"ref": ref, "fileName": body["fileName"], "status": "PENDING"}
        self.submissions.append({**told, "date": "2026-11-22T00:00:00.000Z"})
        name = body["competitionName"]
        return 200, {"message": f"Successfully submitted to {name}", "ref": ref}

    def rpc_get_submission_limits(self, _: Body) -> Reply:
        return 200, {"numToday": 1, "numTotal": 1, "numAllowedNow": 4}

    def rpc_list_submissions(self, _: Body) -> Reply:
        return 200, {"submissions": self.submissions}
