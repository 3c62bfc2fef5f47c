# SPDX-License-Identifier: GPL-3.0-or-later
"""After the first take, with the real backend: ranges, batches, files of motion."""

import json

import bpy
import numpy as np
import pytest
from support.foreign_rigs import RIGS, Rig, build
from support.scene_state import scene_state, take_points
from support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.usefixtures("real_backend")


@pytest.fixture
def take(api, recordings):
    """A head with a take of two seconds from frame 11 on."""
    head, _ = api.add_head("Ann")
    api.generate(head, recordings / "speech.wav", seed=3, start_frame=11, steps=4, place_sound=False)
    [action] = api.takes(head)
    return head, action


def test_a_range_is_made_again_and_the_rest_stays(api, part, take):
    head, action = take
    keys = next(c for c in part("takes.keying").action_curves(action) if "mouthFunnel" in c.data_path)
    keys.keyframe_points[25].co.y = 0.9
    keys.keyframe_points[5].co.y = 0.8
    keys.update()
    before = take_points(part, action)
    [new] = api.regenerate(head, 31, 40, seed=8, hold=["brows", "head"])
    after = take_points(part, new)
    assert part("takes.showing").shown_take(head) == new and action in api.takes(head)
    assert all(np.array_equal(take_points(part, action)[place], before[place]) for place in before)
    inside = slice(20, 30)
    changed = 0
    for place, old in before.items():
        outside = np.r_[0:20, 30:50]
        np.testing.assert_allclose(after[place][outside], old[outside], atol=2e-5, err_msg=str(place))
        if "brow" in place[1] or "neck" in place[1]:
            np.testing.assert_allclose(after[place], old, atol=2e-5, err_msg=str(place))
        elif not np.allclose(after[place][inside], old[inside], atol=1e-4):
            changed += 1
    assert changed > 15
    by_hand = after[next(place for place in after if "mouthFunnel" in place[1])]
    assert by_hand[25, 1] == pytest.approx(0.9) and by_hand[5, 1] == pytest.approx(0.8)


def test_ranges_of_takes_of_other_characters(api, part, recordings):
    """ARKit keys over several meshes, solved visemes, and a mapping made by hand."""
    _, (mesh, _) = build(RIGS["Ready Player Me"](), "Body")
    visemes = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")
    _, (speaking,) = build(Rig({"Viseme Face": {f"viseme_{name}": None for name in visemes}}), "Viseme")
    _, (mapped,) = build(Rig({"Mapped Face": {"Mund": None}}), "Mapped")
    mapped["lächeln"] = 0.0
    mapping, character = part("data.mapping"), part("faces.character")
    table = mapping.MappingTable(
        (
            mapping.Row("jawOpen", mapped.name, "KEY", "Mund", gain=0.5),
            mapping.Row("mouthPucker", mapped.name, "PROPERTY", '["lächeln"]', gain=2.0, high=2.0),
        )
    )
    character.store_mapping(character.owner_of(mapped), table)
    api.generate([mesh, speaking, mapped], recordings / "speech.wav", seed=3, steps=3, place_sound=False)
    for item in (mesh, speaking, mapped):
        [action] = api.takes(item)
        before = take_points(part, action)
        [again] = api.regenerate(item, 20, 30, seed=8)
        after = take_points(part, again)
        assert part("takes.showing").shown_take(part("takes.showing").target_of(item).owner) == again
        changed = 0.0
        for place, old in before.items():
            apart = np.abs(after[place][:, 1] - old[:, 1])
            # solved weights are smoothed in time, and settle to within a thousandth
            smooth, exact = (9, 1e-3) if item == speaking else (0, 2e-5)
            assert apart[: 19 - smooth].max() < exact and apart[30 + smooth :].max() < exact, place
            changed = max(changed, float(apart[19:30].max()))
        assert changed > 1e-3, item.name


def test_ranges_that_cannot_be_made_again(api, part, take):
    head, _ = take
    before = scene_state()
    for arguments, message in (
        ({"first_frame": 500, "last_frame": 510}, "not part of the take"),
        ({"first_frame": 20, "last_frame": 25, "hold": ["nose"]}, "groups to hold"),
    ):
        with pytest.raises(api.UserError, match=message):
            api.regenerate(head, **arguments)
    other, _ = api.add_head("Bob")
    with pytest.raises(api.UserError, match="shows no take"):
        api.regenerate(other, 1, 5)
    bpy.data.objects.remove(other.parent)
    bpy.data.objects.remove(other)
    assert len(api.takes(head)) == 1 and before["actions"] == scene_state()["actions"]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".npz"])
def test_motion_goes_out_and_comes_back(api, part, take, tmp_path, suffix):
    head, action = take
    api.adjust(head, mouth=0.8)
    path = api.export_motion(head, tmp_path / f"line{suffix}")
    assert path.stat().st_size > 1000
    other, _ = api.add_head("Bob")
    [new] = api.import_motion(other, path, start_frame=11)
    assert part("takes.showing").shown_take(other) == new
    old, back = take_points(part, action), take_points(part, new)
    # Live Link Face's table is of 60 frames a second: the sharpest peaks of lips that close lose a little.
    exact = 4e-2 if suffix == ".csv" else 1e-4
    for place, one in back.items():
        if "mouth" in place[1] or "brow" in place[1]:
            np.testing.assert_allclose(one[:49, 1], old[place][:49, 1], atol=exact, err_msg=str(place))
            assert np.abs(one[:49, 1] - old[place][:49, 1]).mean() < 0.1 * exact, place
    turned = next(place for place in old if "neck" in place[1])
    np.testing.assert_allclose(back[turned][:49, 1], old[turned][:49, 1], atol=exact)


def test_motion_that_cannot_go(api, take, tmp_path):
    head, _ = take
    for path, message in (("x.bvh", "no known ending"), ("nowhere/x.csv", "does not exist")):
        with pytest.raises(api.UserError, match=message):
            api.export_motion(head, tmp_path / path)
    with pytest.raises(api.UserError, match="does not exist"):
        api.import_motion(head, tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(api.BackendError):
        api.import_motion(head, tmp_path / "bad.csv")


def test_a_batch_goes_on_after_failures(api, part, recordings, tmp_path):
    api.add_head("Ann")
    _, (mesh, *_) = build(RIGS["Ready Player Me"](), "Body")
    audio = str(recordings / "speech.wav")
    taken = tmp_path / "taken"
    taken.write_text("a file where a folder is wanted")
    rows = [
        {
            "audio": audio,
            "object": "Ann",
            "seed": 2,
            "export": [str(tmp_path / "a.fbx"), str(tmp_path / "a.json")],
        },
        {"audio": str(recordings / "nowhere.wav"), "object": "Ann"},
        {"audio": audio, "object": "Nobody"},
        {"audio": audio, "object": "Ann", "seed": "many"},
        {"audio": audio, "object": "Ann", "colour": "red"},
        {
            "audio": audio,
            "object": mesh.name,
            "start": 21,
            "export": f"{taken / 'b.fbx'};{tmp_path / 'new' / 'folder' / 'b.npz'}",
        },
        {"audio": audio, "object": "Ann", "export": str(tmp_path / "a.docx")},
    ]
    path = tmp_path / "jobs.json"
    path.write_text(json.dumps(rows))
    seen = []
    results = api.batch(
        path, report=tmp_path / "report.json", on_progress=lambda *told: seen.append(told), steps=2
    )
    assert [r.row for r in results] == [1, 2, 3, 4, 5, 6, 7]
    assert [r.state for r in results] == ["done"] + ["failed"] * 6
    for result, message in zip(
        results[1:],
        ["does not exist", "no object", "not a number", "colour", "taken” cannot be made", "no ending"],
        strict=True,
    ):
        assert message in result.error, result
    assert (tmp_path / "a.fbx").is_file() and (tmp_path / "a.json").is_file()
    assert (tmp_path / "new" / "folder" / "b.npz").is_file()  # made, where one is missing
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["jobs"], report["done"], report["failed"]) == (7, 1, 6) and len(seen) == 4
    assert mesh.data.shape_keys.animation_data.action.frame_range[0] == 21


def test_job_lists_that_cannot_be_read(api, part, tmp_path):
    (tmp_path / "a.csv").write_text("audio,who\nx.wav,Ann\n")
    (tmp_path / "b.json").write_text("{")
    for name, message in (
        ("a.csv", "no column “object”"),
        ("b.json", "not JSON"),
        ("c.csv", "cannot be read"),
    ):
        with pytest.raises(api.UserError, match=message):
            api.batch(tmp_path / name)
    (tmp_path / "d.csv").write_text("audio,object,seed,export\nx.wav,Ann,1,a.fbx;b.csv\n")
    [(number, job)], bad = part("jobs.batch").read_jobs(tmp_path / "d.csv")
    assert number == 1 and not bad and job.audio == str(tmp_path / "x.wav") and job.seed == 1
    assert job.export == (str(tmp_path / "a.fbx"), str(tmp_path / "b.csv"))
    (tmp_path / "e.csv").write_text(
        "audio;object;start;output;note\nx.wav;Ann;12.5;clip;later\ny.wav;Ann;nan;c;\n"
        "z.wav;Ann;1;a;b;too many\n;Ann;1;;\n"
    )
    [(number, job)], bad = part("jobs.batch").read_jobs(tmp_path / "e.csv")
    assert (number, job.start) == (1, 12.5) and [result.row for result in bad] == [2, 3, 4]
    for result, message in zip(
        bad, ("“start” is not a number", "more entries", "“audio” is missing"), strict=True
    ):
        assert message in result.error


def test_parts_are_chosen_in_the_panel(api, part, recordings):
    head, _ = api.add_head()
    workflow = bpy.context.scene.diffposetalk_workflow
    try:
        workflow.key_upper = workflow.key_head = False
        bpy.context.scene.diffposetalk.audio_path = str(recordings / "speech.wav")
        bpy.context.scene.diffposetalk.steps = 2
        assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
        paths = {path for _, path, _ in take_points(part, part("takes.showing").shown_take(head))}
        assert any("mouth" in p for p in paths) and not any("brow" in p or "neck" in p for p in paths)
        workflow.key_lips = False
        with pytest.raises(RuntimeError, match="Choose at least one"):
            bpy.ops.diffposetalk.generate()
    finally:
        workflow.key_lips = workflow.key_upper = workflow.key_head = True


def test_everything_explains_itself(part):
    classes_of = part("ui.common.feature").classes_of
    for feature in ("capture", "character", "directing", "exchange", "styles", "takes"):
        for operator in classes_of(part(f"ui.{feature}.operators")):
            assert (
                len(operator.__doc__) > 10
                and operator.bl_label
                and operator.bl_idname.startswith("diffposetalk.")
            )
            for name, prop in (
                operator.get_rna_type().properties.items() if hasattr(operator, "get_rna_type") else ()
            ):
                assert name == "rna_type" or prop.name
        for panel in classes_of(part(f"ui.{feature}.panel")):
            if issubclass(panel, bpy.types.Panel):
                assert panel.bl_category == "DiffPoseTalk" and "DEFAULT_CLOSED" in panel.bl_options
    groups = [
        (bpy.types.Scene, "diffposetalk_workflow", ()),
        (bpy.types.Object, "diffposetalk", ()),
        (bpy.types.Action, "diffposetalk", (*part("data.adjustment").NAMES, "rating")),
    ]
    for owner, name, wanted in groups:
        properties = owner.bl_rna.properties[name].fixed_type.properties
        for identifier, prop in properties.items():
            shown = identifier in wanted if wanted else prop.type != "COLLECTION"
            if identifier not in ("rna_type", "name") and shown:
                assert len(prop.description) > 10 and prop.name, identifier


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_what_is_finished_is_shown_meanwhile(api, part, take, recordings, gate, end):
    head, action = take
    rig, keys = head.parent, head.data.shape_keys
    keys.key_blocks["mouthFunnel"].value = 0.25
    generation, span = part("jobs.generation"), part("takes.audio_strip").AudioSpan
    options = part("data.generation_options").GenerationOptions((5,), steps=4)
    settings = generation.GenerationSettings(options, device="cpu", stream=True)
    speech = generation.Speech(span(str(recordings / "minute.flac"), 0.0, 24.0, 101), (head,), False)
    before = scene_state()
    gate.close(window=1)
    job = generation.GenerationJob(bpy.context.scene, [speech], settings)

    def last_shown():
        shown = keys.animation_data.action
        return shown.frame_range[1] if shown.name.startswith("being generated") else 0

    last = 0
    for window in (1, 2, 3):
        wait_until(lambda last=last: job.poll() != "running" or last_shown() > last)
        last, shown = last_shown(), keys.animation_data.action
        assert job.state == "running" and shown.frame_range[0] == 101
        assert rig.animation_data.action != action and not shown.use_fake_user
        gate.close(window + 1)
    if end == "cancelled":
        job.cancel()
    gate.open()
    assert job.wait(PATIENCE) == end
    assert not [a for a in bpy.data.actions if a.name.startswith("being generated")]
    if end == "cancelled":
        assert scene_state() == before
    else:
        assert keys.animation_data.action in api.takes(head)
