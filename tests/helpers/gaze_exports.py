"""Eye-tracker exports as described in manuals, for the tests of their readers."""

import gzip
import json

import numpy as np

NAN = float("nan")


def as_text(separator, *rows):
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def check(recording, **expected):
    """Compares the named fields: arrays with NaN equal to NaN, others exactly."""
    for name, value in expected.items():
        found = getattr(recording, name)
        if isinstance(found, np.ndarray):
            np.testing.assert_allclose(found, value, atol=1e-6, err_msg=name)
        else:
            assert found == value, name
    assert len(recording.stimuli) == len(recording.observers) == len(recording.trials) == len(recording.x)
    assert recording.y.shape == recording.start.shape == recording.duration.shape == recording.x.shape


# Tobii: 60 samples per second. The first fixation begins before the first image. Two rows are not gaze: an
# event and the mouse.
TOBII_TEXT = """\
Recording timestamp,Sensor,Participant name,Recording name,Recording resolution height,\
Recording resolution width,Presented Stimulus name,Event,\
Gaze point X,Gaze point Y,Gaze point left X,Gaze point left Y,Eye movement type,\
Gaze event duration,Eye movement type index,Fixation point X,Fixation point Y
0,Eye Tracker,P1,Rec1,1080,1920,,,950,530,948,530,Fixation,50,1,951,531
17,,P1,Rec1,1080,1920,a.png,ImageStimulusStart,,,,,,,,,
17,Eye Tracker,P1,Rec1,1080,1920,a.png,,952,532,950,530,Fixation,50,1,951,531
33,Eye Tracker,P1,Rec1,1080,1920,a.png,,700,500,698,498,Saccade,17,1,,
50,Mouse,P1,Rec1,1080,1920,a.png,,,,,,,,,,
50,Eye Tracker,P1,Rec1,1080,1920,a.png,,400,300,398,298,Fixation,217,2,401.5,301.25
67,Eye Tracker,P1,Rec1,1080,1920,a.png,,403,302,401,300,Fixation,217,2,401.5,301.25
83,Eye Tracker,P1,Rec1,1080,1920,a.png,,,,,,EyesNotFound,17,1,,
100,Eye Tracker,P1,Rec1,1080,1920,b.png,,100,90,98,88,Fixation,120,3,100,90
117,Eye Tracker,P1,Rec1,1080,1920,b.png,,90,90,88,88,Unclassified,17,1,,
"""


TOBII = tuple(tuple(line.split(",")) for line in TOBII_TEXT.splitlines())


TOBII_FIXATIONS = {
    "format": "tobii", "kind": "fixations", "space": "screen", "screen": (1080, 1920), "clock": "stimulus",
    "stimuli": ["a.png", "b.png"], "observers": ["P1", "P1"], "start": [33, 0], "duration": [217, 120],
    "x": [401.5, 100], "y": [301.25, 90],
    "dropped": {"saccades": 1, "eyes not found": 1, "unclassified": 1, "no stimulus on the screen": 1},
}  # fmt: skip


def tobii(**changes):
    """The table with columns changed: name -> (new name, function of a cell's text)."""
    header = TOBII[0]
    functions = [changes.get(name.replace(" ", "_"), (name, str)) for name in header]
    rows = [tuple(name for name, _ in functions)]
    for row in TOBII[1:]:
        rows.append(
            tuple(str(cell) and change(str(cell)) for (_, change), cell in zip(functions, row, strict=True))
        )
    return as_text("\t", *rows)


TOBII_WAYS = {
    "plain": tobii(),
    "UTF-8 with BOM, CRLF": ("\ufeff" + tobii().replace("\n", "\r\n")).encode(),
    "UTF-16": tobii().encode("utf-16"),
    "gzip": gzip.compress(tobii().encode()),
    "decimal comma": tobii(
        Fixation_point_X=("Fixation point X", lambda text: text.replace(".", ",")),
        Fixation_point_Y=("Fixation point Y", lambda text: text.replace(".", ",")),
    ),
    "microseconds, no unit": tobii(Recording_timestamp=("Recording timestamp", lambda text: text + "000")),
    "microseconds": tobii(Recording_timestamp=("Recording timestamp [µs]", lambda text: text + "000")),
    "newer names": tobii(
        Recording_timestamp=("Recording timestamp [ms]", str),
        Gaze_event_duration=("Eye movement event duration [ms]", str),
        Fixation_point_X=("Fixation point X [DACS px]", str),
        Fixation_point_Y=("Fixation point Y [DACS px]", str),
        Presented_Stimulus_name=("Presented Media name", str),
    ),
    "quoted": "".join(
        "\t".join(f'"{cell}"' for cell in line.split("\t")) + "\n" for line in tobii().splitlines()
    ),
}


NEON = (
    "section id,recording id,fixation id,start timestamp [ns],end timestamp [ns],duration [ms],"
    "fixation detected in reference image,fixation x [px],fixation y [px]\n"
    "s1,r1,1,1700000000000000000,1700000000250000000,250,True,812.5,400.25\n"
    "s1,r1,2,1700000000300000000,1700000000400000000,100,False,,\n"
    "s2,r2,1,1700000001000000000,1700000001125000000,125,True,12,30\n"
)


# EyeLink: a trial named by IMGLOAD and begun by SYNCTIME, one by TRIAL_VAR after its end.
ASC = """** CONVERTED FROM C:\\data\\ann.edf using edfapi 4.2.1
** DATE: Mon Jan  2 10:00:00 2023
** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED

MSG\t1000 DISPLAY_COORDS 0 0 1279 1023
MSG\t1001 TRIALID 1
START\t1010 \tRIGHT\tSAMPLES\tEVENTS
PRESCALER\t1
PUPIL\tAREA
EVENTS\tGAZE\tRIGHT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2
SAMPLES\tGAZE\tRIGHT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2
SFIX R   1010
1010\t  640.0\t  512.0\t 1034.0\t...
EFIX R   1010\t1090\t82\t  640.0\t  512.0\t   1034
MSG\t1110 -10 SYNCTIME
MSG\t1112 !V IMGLOAD CENTER ..\\images\\cat 1.jpg 640 512 800 600
SSACC R  1092
ESACC R  1092\t1118\t28\t  640.0\t  512.0\t  700.0\t  500.0\t   2.0\t  120
EFIX R   1130\t1328\t200\t  700.5\t  500.25\t   1034
SBLINK R 1330
EBLINK R 1330\t1400\t72
EFIX R   1410\t1508\t100\t  .\t  .\t   0
END\t1520 \tSAMPLES\tEVENTS\tRES\t  47.75\t  46.11
MSG\t1530 TRIAL_RESULT 0
MSG\t2001 TRIALID 2
START\t2010 \tRIGHT\tSAMPLES\tEVENTS
EFIX R   2030\t2128\t100\t  100.0\t  50.0\t   1034
END\t2520 \tSAMPLES\tEVENTS\tRES\t  47.75\t  46.11
MSG\t2530 !V TRIAL_VAR image dog.png
"""


REPORT = (
    ("RECORDING_SESSION_LABEL", "TRIAL_INDEX", "CURRENT_FIX_INDEX", "CURRENT_FIX_X", "CURRENT_FIX_Y",
     "CURRENT_FIX_START", "CURRENT_FIX_DURATION", "IMAGE", "EYE_USED"),
    ("ann", 1, 1, 512.5, 384.25, 4, 210, "sets\\cat.jpg", "RIGHT"),
    ("ann", 1, 2, ".", ".", 230, 90, "sets\\cat.jpg", "RIGHT"),
    ("bob", 2, 1, 100, 200, 12, 180, "dog.jpg", "RIGHT"),
)  # fmt: skip


GAZEPOINT = (
    ("MEDIA_ID", "MEDIA_NAME", "CNT", "TIME(2023/01/02 10:00:00.000)", "TIMETICK(f=10000000)",
     "FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGID", "FPOGV", "BPOGX", "BPOGY", "BPOGV", ""),
    (0, "cat", 0, 0.000, 1, 0.50, 0.40, 0.000, 0.000, 1, 0, 0.50, 0.40, 1, ""),
    (0, "cat", 1, 0.016, 2, 0.51, 0.41, 0.000, 0.016, 1, 1, 0.52, 0.42, 1, ""),
    (0, "cat", 2, 0.032, 3, 0.52, 0.42, 0.000, 0.032, 1, 1, 0.53, 0.43, 1, ""),
    (0, "cat", 3, 0.048, 4, 0.60, 0.10, 0.048, 0.010, 2, 0, 0.00, 0.00, 0, ""),
    (1, "dog", 4, 0.004, 5, 0.20, 0.30, 0.002, 0.100, 1, 1, 0.20, 0.30, 1, ""),
)  # fmt: skip


BEGAZE = (
    ("Event Start Trial Time [ms]", "Event End Trial Time [ms]", "Event Duration [ms]", "Stimulus",
     "Participant", "Trial", "Eye L/R", "Category", "Fixation Position X [px]", "Fixation Position Y [px]"),
    (10.5, 210.5, 200, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Left", "Fixation", 400, 300),
    (12.5, 212.5, 200, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Right", "Fixation", 404, 302),
    (210.5, 240.5, 30, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Left", "Saccade", "-", "-"),
    (212.5, 242.5, 30, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Right", "Blink", "-", "-"),
    (300, 400, 100, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Right", "Fixation", 50, 60),
)  # fmt: skip


SMI_EVENTS = """[BeGaze]
Converted from:\tC:\\P01.idf
Calibration Area:\t1680\t1050
Subject:\tP01

Table Header for Fixations:
Event Type\tTrial\tNumber\tStart\tEnd\tDuration\tLocation X\tLocation Y\tDispersion X\tDispersion Y\tPlane

UserEvent\t1\t1\t3000000\t# Message: start
Fixation L\t1\t1\t3100000\t3200000\t100000\t840.00\t525.00\t22\t69\t-1
UserEvent\t1\t2\t4000000\t# Message: img\\cat.jpg
Fixation L\t1\t2\t4100000\t4300000\t200000\t996.68\t569.56\t22\t69\t-1
Saccade L\t1\t1\t4300000\t4330000\t30000\t1\t1\t2\t2
Blink L\t1\t1\t4330000\t4400000\t70000
Fixation L\t1\t3\t4500000\t46
"""


SMI_SAMPLES = """## [iView]
## Calibration Area:\t1680\t1050
## Subject:\tP01
##
Time\tType\tTrial\tL POR X [px]\tL POR Y [px]\tR POR X [px]\tR POR Y [px]\tTiming
3000000\tSMP\t1\t1.0\t1.0\t1.0\t1.0\t0
3004000\tMSG\t1\t# Message: cat.jpg
3008000\tSMP\t1\t10.0\t20.0\t12.0\t24.0\t0
3012000\tSMP\t1\t0.00\t0.00\t12.0\t24.0\t0
3016000\tSMP\t1\t0.00\t0.00\t0.00\t0.00\t0
"""


def bids_dataset(
    folder, samples, about=(), events="onset\tduration\tstim_file\n1\t0.5\timages/cat.png\n2\tn/a\tdog.png\n"
):
    """A dataset of one recording, with the common JSON files at the root."""
    inside = folder / "sub-01" / "beh"
    inside.mkdir(parents=True, exist_ok=True)
    told = {"SamplingFrequency": 100, "Columns": ["timestamp", "x_coordinate", "y_coordinate", "pupil_size"]}
    (folder / "task-view_physio.json").write_text(json.dumps(told | {"PhysioType": "eyetrack"}))
    own = {"StartTime": 0.5, "RecordedEye": "left", "x_coordinate": {"Units": "pixel"}} | dict(about)
    (inside / "sub-01_task-view_recording-eye1_physio.json").write_text(json.dumps(own))
    (folder / "task-view_events.json").write_text(
        json.dumps({"StimulusPresentation": {"ScreenResolution": [800, 600]}})
    )
    (inside / "sub-01_task-view_events.tsv").write_text(events)
    path = inside / "sub-01_task-view_recording-eye1_physio.tsv.gz"
    path.write_bytes(gzip.compress(as_text("\t", *samples).encode()))
    return path


# A sample every 100 ms, in milliseconds from 70000; the recording begins at 0.5 s of the event clock.
BIDS = [(70000 + 100 * n, 10 * n, 5 * n if n != 7 else "n/a", 900) for n in range(20)]


TABLE = (
    ("image", "subject", "x", "y", "onset", "duration"),
    ("a.png", "s1", 10.5, 20, 5, 200),
    ("b.png", "s2", 30, 40, 6, 150),
)
