"""Mesh files of random features, and how they look in Blender beside how their prepared meshes look.

Run as a program, in a process of its own: ``python -m tests.blender_scenes.mesh_fuzz FOLDER COUNT SEED``.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.blender_scenes.gltf_files import GLB, QUAD_UV

ROUGHLY = 0.06
"""How much of a colour Blender's layers of a shader may take; lost factors and pictures take more."""
EDGE_SHARE = 0.15
"""Of the covered pixels, so many may differ: those at outlines and at edges of a picture's texels."""
MIN_SEEN = 50
"""What covers fewer pixels is judged as if it covered so many."""


def picture(rng, channels=3):
    """A picture of 8×8 texels in four flat corners, so that a shift or a turn shows."""
    corners = rng.integers(0, 256, (2, 2, channels))
    if channels == 4:
        corners[..., 3] = rng.permutation([0, 255, 255, 255]).reshape(2, 2)
    return np.repeat(np.repeat(corners, 4, 0), 4, 1).astype(np.uint8)


def gltf_material(glb, rng, told):
    """A material with some of what glTF's materials can have."""
    kinds = ["plain", "factor", "picture", "product", "unlit", "emission", "cut", "blend"]
    kind = str(rng.choice(kinds))
    told.append(kind)
    pbr, material = {"metallicFactor": 0.0, "roughnessFactor": 1.0}, {}
    if kind not in ("plain", "picture", "emission"):
        pbr["baseColorFactor"] = [*rng.uniform(0.2, 1, 3).round(3).tolist(), 1]
    if kind not in ("plain", "factor", "emission"):
        info = {"index": glb.texture(picture(rng, 4 if kind in ("cut", "blend") else 3))}
        if rng.random() < 0.3:
            info["texCoord"] = 1
            told.append("second uv")
        if rng.random() < 0.3:
            moved = {"offset": rng.uniform(-1, 1, 2).tolist(), "scale": rng.uniform(0.5, 3, 2).tolist()}
            info["extensions"] = {"KHR_texture_transform": moved | {"rotation": float(rng.uniform(-3, 3))}}
            told.append("transform")
        pbr["baseColorTexture"] = info
    if kind == "unlit":
        material["extensions"] = {"KHR_materials_unlit": {}}
    if kind == "emission":
        pbr["baseColorFactor"] = [0, 0, 0, 1]
        material |= {"emissiveFactor": [1, 1, 1], "emissiveTexture": {"index": glb.texture(picture(rng))}}
    if kind == "cut":
        material |= {"alphaMode": "MASK", "alphaCutoff": float(rng.choice([0.3, 0.5, 0.7]))}
    if kind == "blend":
        material |= {"alphaMode": "BLEND"}
    return glb.add("materials", {"pbrMetallicRoughness": pbr, "doubleSided": True, **material})


def gltf(path, rng):
    """A binary glTF file; returns what is in it."""
    glb, told = GLB(), []
    glb.json["extensionsUsed"] = ["KHR_materials_unlit", "KHR_texture_transform"]
    meshes = []
    for _ in range(rng.integers(1, 3)):
        attributes, uv = {}, (QUAD_UV, QUAD_UV * 0.5 + 0.25)
        if rng.random() < 0.3:
            colors = rng.uniform(0, 1, (4, int(rng.choice([3, 4])))).astype(np.float32)
            colors[:, 3:] = 1
            if rng.random() < 0.5:
                attributes["COLOR_0"] = glb.array((colors * 255).astype(np.uint8), True)
            else:
                attributes["COLOR_0"] = glb.array(colors)
            told.append("paint")
        material = None if rng.random() < 0.1 else gltf_material(glb, rng, told)
        mesh = glb.mesh(material, uv, **attributes)
        [primitive] = glb.json["meshes"][mesh]["primitives"]
        if rng.random() < 0.2:
            away = rng.uniform(-1, 1, (4, 3)).astype(np.float32)
            primitive["targets"] = [{"POSITION": glb.array(away)}]
            glb.json["meshes"][mesh]["weights"] = [float(rng.uniform(0, 1))]
            told.append("morph")
        meshes.append(mesh)
    for _ in range(rng.integers(1, 4)):
        turn = rng.normal(size=4)
        place = {"translation": rng.uniform(-1, 1, 3).tolist(), "rotation": (turn / np.linalg.norm(turn)).tolist()}
        scale = rng.uniform(0.5, 1.5, 3) * np.where(rng.random(3) < 0.2, -1, 1)
        glb.node(mesh=int(rng.choice(meshes)), **place, scale=scale.tolist())
    if rng.random() < 0.3:
        parent = glb.node(scale=[1, 2, 1], children=[glb.node(scene=False, mesh=meshes[0], translation=[0, 0, 1])])
        told.append(f"child of {parent}")
    if rng.random() < 0.2:
        glb.json["scenes"].append({"nodes": [glb.node(scene=False, mesh=meshes[0], translation=[0, 4, 0])]})
        told.append("second scene")
    if rng.random() < 0.2:
        joints, weights = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32)
        weights[:, 0] = 1
        mesh = glb.mesh(None, JOINTS_0=glb.array(joints), WEIGHTS_0=glb.array(weights))
        bone = glb.node(translation=rng.uniform(-1, 1, 3).tolist())
        inverse = np.eye(4, dtype=np.float32).reshape(1, 16)
        glb.node(mesh=mesh, skin=glb.add("skins", {"joints": [bone], "inverseBindMatrices": glb.array(inverse)}))
        told.append("skin")
    glb.write(path)
    return told


def obj(path, rng):
    """An OBJ file with its library and pictures; returns what is in it."""
    told, lines, library, count = [], [f"mtllib {path.stem}.mtl"], [], 0
    for number in range(rng.integers(1, 4)):
        name = f"m{number}"
        library.append(f"newmtl {name}\nKd {' '.join(f'{c:.3f}' for c in rng.uniform(0.2, 1, 3))}\nNs 10\nKs 0 0 0")
        kind = str(rng.choice(["plain", "picture", "scaled", "cut", "own alpha"]))
        told.append(kind)
        if kind != "plain":
            file = f"{path.stem}_{number}.png"
            Image.fromarray(picture(rng, 4 if kind == "own alpha" else 3)).save(path.parent / file)
            options = f"-s {rng.integers(1, 4)} {rng.integers(1, 4)} 1 -o 0.25 0.5 0 " if kind == "scaled" else ""
            library.append(f"map_Kd {options}{file}")
        if kind == "cut":
            shape = np.repeat(np.repeat(rng.permutation([0, 255, 255, 255]).reshape(2, 2), 4, 0), 4, 1)
            Image.fromarray(shape.astype(np.uint8)).save(path.parent / f"{path.stem}_{number}_d.png")
            library.append(f"map_d {path.stem}_{number}_d.png")
        if kind == "own alpha":
            library.append(f"map_d {path.stem}_{number}.png")
        corners = rng.uniform(-1, 1, (4, 3))
        corners[3] = corners[0] + corners[2] - corners[1]  # a parallelogram
        lines += [f"o part{number}", *("v {:.5f} {:.5f} {:.5f}".format(*corner) for corner in corners)]
        lines += [*(f"vt {u} {v}" for u, v in QUAD_UV.tolist()), f"usemtl {name}"]
        negative = rng.random() < 0.3
        face = [(v - 4, v - 4) if negative else (count + v + 1, count + v + 1) for v in range(4)]
        lines.append("f " + " ".join(f"{v}/{t}" for v, t in face))
        count += 4
    path.write_text("\n".join(lines) + "\n")
    path.with_suffix(".mtl").write_text("\n".join(library) + "\n")
    return told


USD_MESH = """    def Mesh "part{n}" (prepend apiSchemas = ["MaterialBindingAPI"]) {{
        int[] faceVertexCounts = [4]
        int[] faceVertexIndices = [0, 1, 2, 3]
        point3f[] points = [{points}]
        texCoord2f[] primvars:st = [(0, 0), (1, 0), (1, 1), (0, 1)] (interpolation = "vertex")
        uniform token subdivisionScheme = "none"
        {more}
        rel material:binding = </root/look{n}>
    }}
"""
USD_LOOK = """    def Material "look{n}" {{
        token outputs:surface.connect = </root/look{n}/shader.outputs:surface>
        def Shader "shader" {{
            uniform token info:id = "UsdPreviewSurface"
            float inputs:roughness = 1
            {inputs}
            token outputs:surface
        }}
        {nodes}
    }}
"""
USD_PICTURE = """def Shader "st" {{
            uniform token info:id = "UsdPrimvarReader_float2"
            string inputs:varname = "st"
            float2 outputs:result
        }}
        def Shader "moved" {{
            uniform token info:id = "UsdTransform2d"
            float2 inputs:in.connect = </root/look{n}/st.outputs:result>
            float2 inputs:scale = ({scale}, {scale})
            float2 inputs:translation = (0.25, 0.5)
            float2 outputs:result
        }}
        def Shader "picture" {{
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @./{file}@
            token inputs:wrapS = "repeat"
            token inputs:wrapT = "repeat"
            float2 inputs:st.connect = </root/look{n}/{source}.outputs:result>
            float3 outputs:rgb
            float outputs:a
        }}
"""


def usd(path, rng):
    """A USD file as text; returns what is in it."""
    told, body = [], ""
    for n in range(rng.integers(1, 4)):
        kind = str(rng.choice(["plain", "picture", "moved", "cut", "blend"]))
        told.append(kind)
        color = "({:.3f}, {:.3f}, {:.3f})".format(*rng.uniform(0.2, 1, 3))
        inputs, nodes = f"color3f inputs:diffuseColor = {color}", ""
        if kind != "plain":
            file = f"{path.stem}_{n}.png"
            Image.fromarray(picture(rng, 4 if kind in ("cut", "blend") else 3)).save(path.parent / file)
            source = "moved" if kind == "moved" else "st"
            nodes = USD_PICTURE.format(n=n, file=file, source=source, scale=int(rng.integers(1, 4)))
            inputs = f"color3f inputs:diffuseColor.connect = </root/look{n}/picture.outputs:rgb>"
        if kind in ("cut", "blend"):
            inputs += f"\n            float inputs:opacity.connect = </root/look{n}/picture.outputs:a>"
        if kind == "cut":
            inputs += "\n            float inputs:opacityThreshold = 0.5"
        points = rng.uniform(-1, 1, (4, 3))
        points[3] = points[0] + points[2] - points[1]
        more = ""
        if rng.random() < 0.2 and n:
            more = 'token visibility = "invisible"'
            told.append("hidden")
        elif rng.random() < 0.3:
            more = 'double3 xformOp:scale = (1, 2, 1)\n        uniform token[] xformOpOrder = ["xformOp:scale"]'
        places = ", ".join("({:.5f}, {:.5f}, {:.5f})".format(*point) for point in points)
        body += USD_MESH.format(n=n, points=places, more=more) + USD_LOOK.format(n=n, inputs=inputs, nodes=nodes)
    path.write_text(f'#usda 1.0\n(\n    defaultPrim = "root"\n    upAxis = "Z"\n)\ndef Xform "root" {{\n{body}}}\n')
    return told


def ply(path, rng):
    """A PLY file with vertex colours or without; returns what is in it."""
    count, painted = int(rng.integers(2, 6)), bool(rng.random() < 0.6)
    header = f"ply\nformat ascii 1.0\nelement vertex {4 * count}\n" + "".join(f"property float {a}\n" for a in "xyz")
    header += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue")) if painted else ""
    header += f"element face {count}\nproperty list uchar int vertex_indices\nend_header\n"
    rows = []
    for _ in range(count):
        points = rng.uniform(-1, 1, (4, 3))
        points[3] = points[0] + points[2] - points[1]
        for point in points:
            rows.append(
                " ".join([*map("{:.5f}".format, point), *(map(str, rng.integers(0, 256, 3)) if painted else ())])
            )
    rows += ["4 " + " ".join(str(4 * n + v) for v in range(4)) for n in range(count)]
    path.write_text(header + "\n".join(rows) + "\n")
    return ["painted"] if painted else ["bare"]


WRITERS = {".glb": gltf, ".obj": obj, ".usda": usd, ".ply": ply}


def main(folder, count, seed):
    """Write ``count`` files, look at each twice, and write what differs to ``report.json``."""
    import bpy

    from assets.store import AssetStore
    from blender_scenes.blender import mesh_import
    from blender_scenes.blender.materials import prepared_materials
    from blender_scenes.blender.meshes import mesh_from_arrays
    from render.blender.cycles import Cycles
    from tests.blender_scenes.mesh_views import look_at, reset

    store, report, cycles = AssetStore(folder / "store"), [], Cycles()
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        suffix = list(WRITERS)[number % len(WRITERS)]
        path = folder / f"{number:04d}{suffix}"
        told = WRITERS[suffix](path, rng)
        reset()
        mesh_import.IMPORTERS[suffix](str(path))
        for obj in bpy.data.objects:  # importers' helpers are never part of a model
            if obj.name.startswith("Icosphere"):
                obj.hide_render = True
        paint(bpy)
        direction = rng.normal(size=3)
        wanted = look_at(cycles, direction)
        reset()
        mesh, warnings = mesh_import.import_mesh(path, store)
        data = mesh_from_arrays("prepared", mesh)
        for material in prepared_materials(mesh, store):
            data.materials.append(material)
        bpy.context.scene.collection.objects.link(bpy.data.objects.new("prepared", data))
        found = look_at(cycles, direction)
        off = np.abs(found - wanted)
        seen = int(((wanted[..., 3] > 0) | (found[..., 3] > 0)).sum())
        bad = float((off > ROUGHLY + 0.1 * wanted).any(axis=-1).sum()) / max(seen, MIN_SEEN)
        report.append({"file": path.name, "told": told, "bad": bad, "seen": seen, "warnings": warnings})
        if bad > EDGE_SHARE:
            both = np.concatenate([wanted, found], axis=1).clip(0, 1)
            Image.fromarray((both * 255).astype(np.uint8)).save(folder / f"{number:04d}_differs.png")
    (folder / "report.json").write_text(json.dumps(report))


def paint(bpy):
    """Give meshes that have colours and no material one that shows them: importers make none."""
    for mesh in bpy.data.meshes:
        if len(mesh.color_attributes) and not any(mesh.materials):
            material = bpy.data.materials.new("paint")
            material.use_nodes = True
            nodes = material.node_tree.nodes
            color = nodes["Principled BSDF"].inputs["Base Color"]
            material.node_tree.links.new(nodes.new("ShaderNodeVertexColor").outputs["Color"], color)
            mesh.materials.append(material)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
