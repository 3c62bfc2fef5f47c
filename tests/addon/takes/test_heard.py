# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound strips follow the takes that are shown, and playback follows the sound."""

import bpy
import pytest

HAS_SOUND = bpy.app.build_options.audaspace

pytestmark = [
    pytest.mark.usefixtures("real_backend"),
    pytest.mark.skipif(not HAS_SOUND, reason="this build of Blender has no sound"),
]


@pytest.fixture
def audible(part):
    """Function that answers the names of the strips that are not muted."""

    def audible():
        strips = part("takes.audio_strip").sequencer_strips(bpy.context.scene)
        return sorted(strip.name for strip in strips if not strip.mute)

    return audible


def test_only_shown_takes_are_heard(api, part, audible, recordings):
    head, _ = api.add_head("Ann")
    other, _ = api.add_head("Bob")
    api.generate(head, recordings / "speech.wav", steps=2)
    api.generate(head, recordings / "second line.wav", steps=2)
    assert audible() == ["second line"]
    api.generate(other, recordings / "telephone.wav", steps=2)
    assert audible() == ["second line", "telephone"]
    second, first = api.takes(head)  # by name
    api.show_take(first)
    assert audible() == ["speech", "telephone"]
    showing = part("takes.showing")
    showing.delete_take(first, showing.target_of(head))
    assert audible() == ["second line", "telephone"] and api.takes(head) == [second]


def test_the_same_recording_at_another_frame(api, part, audible, recordings):
    """The strip nearest to the take's beginning is its own, wherever the take is moved to."""
    head, _ = api.add_head()
    [one] = api.generate(head, recordings / "speech.wav", steps=2)
    [two] = api.generate(head, recordings / "speech.wav", steps=2, seed=1, start_frame=200)
    assert audible() == [two.strip.name]
    first, second = api.takes(head)
    part("takes.showing").retime(second, 190.0, 1.0, 25.0)
    api.show_take(first)
    assert audible() == [one.strip.name]
    api.show_take(second)
    assert audible() == [two.strip.name]


def test_what_the_user_placed_or_muted_is_left_alone(api, part, audible, recordings):
    head, _ = api.add_head()
    strips = part("takes.audio_strip").sequencer_strips(bpy.context.scene)
    strips.new_sound("music", str(recordings / "minute.flac"), 9, 1)
    [one] = api.generate(head, recordings / "speech.wav", steps=2)
    one.strip.mute = True
    api.generate(head, recordings / "second line.wav", steps=2)
    api.show_take(api.takes(head)[1])
    assert audible() == ["music"]


def test_playback_follows_the_first_sound_and_what_is_turned_off_stays_off(api, recordings):
    head, _ = api.add_head()
    scene = bpy.context.scene
    scene.sync_mode, scene.use_audio_scrub = "NONE", False  # as new files are before Blender 5.0
    [silent] = api.generate(head, recordings / "speech.wav", steps=2, place_sound=False)
    assert scene.sync_mode == "NONE" and not silent.synced
    [first] = api.generate(head, recordings / "speech.wav", steps=2)
    assert scene.sync_mode == "AUDIO_SYNC" and scene.use_audio_scrub and first.synced
    scene.sync_mode, scene.use_audio_scrub = "NONE", False
    [second] = api.generate(head, recordings / "second line.wav", steps=2)
    assert scene.sync_mode == "NONE" and not scene.use_audio_scrub and not second.synced
